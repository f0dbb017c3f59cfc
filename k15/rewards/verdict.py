"""What a reward says about a response: correct, wrong, or an error and why."""

import dataclasses
from collections.abc import Mapping

KINDS = ('correct', 'wrong', 'error')


@dataclasses.dataclass(frozen=True)
class Verdict:
  """The outcome of checking one response.

  What counts as right is told by `kind` alone.  `reward` and `parts` are filled
  in where rewards are added up (scoring.py); a judge by itself leaves them out.

  Attributes:
    kind: one of KINDS; an error is not a 0: it says why in `reason`.
    reason: of an error: 'timeout', 'crash', 'unparsable', 'memory',
      'output_limit', ...; a short detail may follow after ': '.
    rung: the sandbox rung that ran it, '' where none was needed.
    seconds: wall-clock time it took, >= 0.
    reward: what the response earns, the weighted sum of `parts`; None: 1 if
      it is correct, else 0.
    parts: by name, such as 'accuracy' and 'format', before their weights.
  """

  kind: str
  reason: str = ''
  rung: str = ''
  seconds: float = 0.0
  reward: float | None = None
  parts: Mapping[str, float] = dataclasses.field(
    default_factory=dict, hash=False
  )
