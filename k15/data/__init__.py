"""Problems, conversations, documents: files or generators in, typed rows out.

Read `problems` first: files of problems.
"""
