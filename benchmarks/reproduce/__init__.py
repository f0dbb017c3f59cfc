"""The paper's figures at the scale of a laptop: `make reproduce`.

Read `verdicts` first: what is said of a claim, and when.
"""
