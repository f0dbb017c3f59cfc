"""The stages of a run: a page each; RL, pretraining, the prompt set: rooms.

Read `rl/loop` first: an iteration from top to bottom.
"""
