"""What is sent into the sandbox: the standard library and this folder alone.

No page here may import anything else of k15.  Read `server` first.
"""
