"""The rollout over a network: workers, weights, and JetStream's interfaces.

Read `remote` first: the trainer's side.  JetStream is imported by the serving
command alone.
"""
