"""Shell that containers run: the command is their "$@", as `sh -c SCRIPT sh`.

A shell does not pass signals on by itself, and `wait` ends early when one
comes.  Whatever a container is told goes through `literal`.
"""

from collections.abc import Iterable

from k15 import exit_codes

# libtpu locks memory, which GKE's containers may not unless they ask: docs.
# cloud.google.com/kubernetes-engine/docs/how-to/tpus#privileged-mode.
LOCK_MEMORY = 'ulimit -l 68719476736; '
ONCE = 'exec "$@"'
# A service that ends, however it does, has failed, so that it is started again.
FOREVER = 'trap \'kill "$!"\' TERM; "$@" & wait "$!"; wait "$!"; exit 1'
# Where exit codes mean nothing: one that saved is started again, here and now.
UNTIL_DONE = (
  'trap \'kill "$!"\' TERM; while :; do "$@" & while :; do wait "$!"; code=$?;'
  ' kill -0 "$!" 2>/dev/null || break; done;'
  f' [ "$code" = {exit_codes.INTERRUPTED} ] || exit "$code"; done'
)


def literal(texts: Iterable[str]) -> list[str]:
  """Texts that reach the container as they are.

  In command, args and values of env Kubernetes replaces $(NAME) by a variable
  and $$ by $, wherever they stand (its forked/golang/expansion).  So does
  Vertex AI: its reference of EnvVar says so, and its samples of custom jobs
  pass --model_dir=$(AIP_MODEL_DIR).  A doubled $ is one $ in the end.
  """
  return [text.replace('$', '$$') for text in texts]
