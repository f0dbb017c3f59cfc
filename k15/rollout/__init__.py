"""How tokens are made, in this process: no network, no JetStream.

Read `partial` first: a rollout phase with partial rollouts, k1.5, section
2.6.2; then `scheduler`.
"""
