"""GGUF files, read into the layout of the hub.

Read `from_gguf` first: a file becomes a directory.
"""
