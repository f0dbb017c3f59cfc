"""What a config may say, and in which sentence it is refused.

Imports nothing of k15 and no jax, so that launching needs neither.  Read `keys`
first: one row a key; then `stages`: one row a stage.
"""
