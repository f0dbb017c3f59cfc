"""Text in, verdict out: what a response earns, by rule, program or model.

Never imports the policy or the rollout: what writes is an argument.  Read
`verdict` first, then `scoring`: who judges which response, and when.
"""
