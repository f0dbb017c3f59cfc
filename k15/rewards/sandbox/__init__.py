"""Untrusted programs behind walls, seen from outside.

Read `pool` first: jobs in, outcomes out; then `walls`: what this machine holds.
"""
