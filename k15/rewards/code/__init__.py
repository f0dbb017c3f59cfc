"""Does a program do what its problem asks?

Read `tests` first: the reward; the other pages are where tests come from.
"""
