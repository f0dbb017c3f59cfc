"""What the exit of a run says to whoever started it.

0: done.  1: it failed, and its last line says why.  2: the command, or its
config, cannot be used.
"""

# Asked to stop, and stopped with everything saved: run the command again.  It
# is EX_TEMPFAIL of sysexits.h: try again later.
INTERRUPTED = 75
