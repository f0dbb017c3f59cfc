"""Meshes, where arrays lie on them, and what moves between them.

Read `sharding` first.
"""
