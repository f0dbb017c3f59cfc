"""Work units of a sweep: processes with their logs, limits and ends.

Read `sweep` first.
"""
