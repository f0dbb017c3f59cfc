"""A config becomes the parts of a run: weights, rollout, judges, problems.

The only room below the stages that sees a whole config.  Read `context` first.
"""
