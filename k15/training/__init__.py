"""From scored or supervised sequences to a gradient step.

Read `replay` first: a response's life until it is trained on; then `update`,
the only gradient step.
"""
