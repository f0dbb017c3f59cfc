"""Commands that start runs, here and on clusters, and say what they cost.

Nothing but `plan` and `reproduce` imports jax, or more of k15 than its config.
"""
