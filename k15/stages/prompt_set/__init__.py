"""The stage that makes the RL prompt set: Kimi k1.5, 2.1.

Read `curate` first: the stage, whose funnel is on the page of its steps.
"""
