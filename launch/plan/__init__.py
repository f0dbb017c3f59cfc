"""What a run will cost on a TPU slice, before one is asked for.

    python -m launch.plan --config=... --topology=v5p:4x4x4

Read `programs` first: what is compiled, and for which shapes.
"""
