"""The policy: tokens, and pictures, in, logits or values out.

Read `policy` first: a decoder-only Transformer, one definition for every use.
"""
