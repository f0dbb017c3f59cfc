"""Endless families of problems and documents: what a config draws of one.

Room below `k15.runtime`; `makers.py` is the page to read first.
"""
