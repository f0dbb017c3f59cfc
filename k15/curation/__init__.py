"""Which problems stay in the RL prompt set, and why: k1.5, section 2.1.

Pure: texts and numbers in, decisions out.  Read `funnel` first.
"""
