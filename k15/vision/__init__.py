"""Pictures: decoded, stored by what they show, laid out for a policy that sees.

Read `images` first: bytes of a file to patches.
"""
