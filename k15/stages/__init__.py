"""The stages of a run: a page each, and rooms for RL and for pretraining.

Read `rl/loop` first: an iteration from top to bottom.
"""
