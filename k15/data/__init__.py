"""Problems, conversations and examples: files or generators in, rows out.

Read `problems` first: files of problems.
"""
