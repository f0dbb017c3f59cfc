"""A toy in which the paper's choices are tried, thousands of runs at once.

It runs before a pod does: `make worlds`.  Read `facts` first, what such a world
is; then `learning`, a run of RL in it, whose equations are those of k15.
"""
