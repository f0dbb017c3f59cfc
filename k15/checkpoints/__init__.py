"""Models and states on disk.

Read `models` first: a directory of weights, shape and tokenizer.
"""
