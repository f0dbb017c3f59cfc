"""The stages of a run, one page each.

Read `rl` first: an iteration from top to bottom.
"""
