"""Does a program do what its problem asks?

Read `programs` first: the reward; the other pages are where tests come from.
"""
