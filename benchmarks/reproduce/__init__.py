"""The paper's figures at the scale of a laptop: `make reproduce`.

Read `findings` first: what a claim is, and when it holds.
"""
