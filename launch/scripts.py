"""Shell that containers run: the command is their "$@", as `sh -c SCRIPT sh`.

A shell does not pass signals on by itself, and `wait` ends early when one
comes.
"""

# libtpu locks memory, which GKE's containers may not unless they ask: docs.
# cloud.google.com/kubernetes-engine/docs/how-to/tpus#privileged-mode.
LOCK_MEMORY = 'ulimit -l 68719476736; '
ONCE = 'exec "$@"'
# A service that ends, however it does, has failed, so that it is started again.
FOREVER = 'trap \'kill "$!"\' TERM; "$@" & wait "$!"; wait "$!"; exit 1'
# Where exit codes mean nothing: 75 starts the command again, here and now.
UNTIL_DONE = (
  'trap \'kill "$!"\' TERM; while :; do "$@" & while :; do wait "$!"; code=$?;'
  ' kill -0 "$!" 2>/dev/null || break; done;'
  ' [ "$code" = 75 ] || exit "$code"; done'
)
