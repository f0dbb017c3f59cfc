"""Walks over a small table of facts, and a writer who believes wrong ones.

Read `table` first: the facts, what is believed of them, and luck.
"""
