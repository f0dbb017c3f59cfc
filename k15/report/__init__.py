"""What runs leave on disk, as pages for people: `python -m k15.report RUN...`.

Its pages never name jax.  Read `runs` first: what a run leaves.
"""
