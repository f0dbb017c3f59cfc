"""Word problems in natural language, without end, and their worked solutions.

Read `word_problems` first: what is drawn, and what is held out.
"""
