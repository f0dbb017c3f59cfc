"""What a reward says about a response: correct, wrong, or an error and why."""

import dataclasses

KINDS = ('correct', 'wrong', 'error')


@dataclasses.dataclass(frozen=True)
class Verdict:
  """The outcome of checking one response.

  Attributes:
    kind: one of KINDS; an error is not a 0: it says why in `reason`.
    reason: of an error: 'timeout', 'crash', 'unparsable', 'memory',
      'output_limit', ...; a short detail may follow after ': '.
    rung: the sandbox rung that ran it, '' where none was needed.
    seconds: wall-clock time it took, >= 0.
  """

  kind: str
  reason: str = ''
  rung: str = ''
  seconds: float = 0.0
