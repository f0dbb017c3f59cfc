"""Pictures: decoded, stored, laid out; drawn, asked about and described.

Read `images` first: bytes of a file to patches.
"""
