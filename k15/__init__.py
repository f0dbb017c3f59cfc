"""k15: reasoning by reinforcement learning, after Kimi k1.5, in JAX."""
