"""Which problems and documents are learnt from, and why: k1.5, 2.1 and 2.5.1.

Pure: texts and numbers in, decisions out.  Read `funnel` first.
"""
