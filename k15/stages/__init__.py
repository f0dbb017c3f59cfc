"""The stages of a run: a page each, and a room for reinforcement learning.

Read `rl/loop` first: an iteration from top to bottom.
"""
