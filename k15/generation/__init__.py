"""Responses that are wanted once: drawn, judged, kept, never drawn again.

Evaluation, pass rates, long chains of thought and long2short choose what to ask
and read the records.  Read `asks` first, then `draw`, the one loop.
"""
