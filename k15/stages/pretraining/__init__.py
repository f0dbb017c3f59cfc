"""Pretraining, cooldown and long-context activation: Kimi k1.5, 2.5.1.

Read `pretrain` first: the three stages, which are of one kind.
"""
