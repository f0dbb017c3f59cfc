"""Are two mathematical answers equal?

Read `verify` first: the cascade from text to verdict.
"""
