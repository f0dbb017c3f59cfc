"""One iteration of RL, Kimi k1.5's 2.3 and 2.6, after the other.

Read `loop` first: an iteration from top to bottom.
"""
