"""k15: reasoning by reinforcement learning, after Kimi k1.5, in JAX.

Read `data_types` first: the types that flow through all rooms, and the words.
`main` is the command, `recipe` the stages of a run in their order.
"""
