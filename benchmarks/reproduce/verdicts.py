"""What numbers over seeds say of a claim: the verdict of each, and of all.

A measure is judged by its 95 % t interval alone, and a claim by its measures:

    holds            the interval lies wholly where it was expected
    no difference    it was expected on one side, and lies within the margin
                     that counts as equal, on whichever side of 0
    the opposite     it lies wholly on the other side
    cannot tell      none of these: too few seeds, or not measured
    not posed here   a check of the claim failed: the runs do not ask it

A claim says that all of its deciding measures are so.  One that is refuted
refutes it, whatever the others are, and one that is open leaves it open: its
verdict is the first of `ORDER` that a measure has.  A check that failed comes
before all, as nothing follows from runs that do not ask the question.  The
verdicts of the measures stay beside it.  A claim without a deciding measure
has the verdict 'nothing expected'.
"""

import dataclasses
import math
from collections.abc import Sequence

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from benchmarks.reproduce.findings import Estimate
from experiments.ablations import claims

HOLDS, NO_DIFFERENCE = 'holds', 'no difference'
OPPOSITE, CANNOT_TELL = 'the opposite', 'cannot tell'
NOT_POSED, NOTHING = 'not posed here', 'nothing expected'
# Of the measures of a claim: what is refuted, what is open, what holds.
ORDER = OPPOSITE, NO_DIFFERENCE, CANNOT_TELL, HOLDS
# What a claim expects of a number: beyond a margin, within it, or not below it.
EXPECTED = 'above', 'below', 'equal', 'not_below', 'not_above'


@dataclasses.dataclass(frozen=True)
class Finding:
  """What an estimate says of what was expected.

  Attributes:
    verdict: one of `ORDER`.
    sentence: why.
  """

  verdict: str
  sentence: str


@dataclasses.dataclass(frozen=True)
class Condition:
  """A check with its number; None where the runs did not keep it."""

  what: str
  found: Estimate | None
  least: float | None
  most: float | None

  @property
  def needs(self) -> str:
    """Such as 'at least 0.1, at most 0.6'."""
    ends = ('at least', self.least), ('at most', self.most)
    return ', '.join(f'{w} {end:g}' for w, end in ends if end is not None)

  @property
  def state(self) -> str:
    """'met', 'fails' or 'not measured'."""
    if self.found is None:
      return 'not measured'
    return 'fails' if self.fails else 'met'

  @property
  def fails(self) -> bool:
    """Whether the mean over seeds is out of the range; NaN is."""
    if self.found is None:
      return False
    low = -math.inf if self.least is None else self.least
    high = math.inf if self.most is None else self.most
    return not low <= self.found.mean <= high

  def text(self) -> str:
    """Such as 'log-ratio, nats: 0.20 ± 0.02, at least 0.3: fails'."""
    if self.found is None:
      return f'{self.what}: not measured in these runs, {self.needs}'
    number = findings.text(self.found)
    return f'{self.what}: {number}, {self.needs}: {self.state}'


@dataclasses.dataclass(frozen=True)
class Result:
  """What was measured of a claim.

  Attributes:
    estimates: what was compared -> number over seeds, in order; None where
      the runs did not keep it.
    judged: those of them that decide, and what they say.
    conditions: the claim's checks.
    expectations: of those that decide, what was expected, such as 'above 0'.
    verdict, sentence: of the claim, and why.
    outcome: why it came out so, in the eyes of the authors.
    seeds: of every arm.
    iterations: of RL, of the longest run.
    commits: of the code that ran.
  """

  estimates: dict[str, Estimate | None]
  judged: dict[str, Finding]
  expectations: dict[str, str]
  conditions: tuple[Condition, ...]
  verdict: str
  sentence: str
  outcome: str
  seeds: tuple[int, ...]
  iterations: int
  commits: tuple[str, ...]


def judge(
  found: Estimate | None,
  expected: str,
  margin: float = 0.0,
  equivalence: float = 0.0,
) -> Finding:
  """What an estimate says of what was expected of it.

  Args:
    found: a number, or the paired difference between two arms.
    expected: 'above' or 'below' the margin's positive or negative, 'equal'
      (within it on both sides), 'not_below' minus it, 'not_above' it.
    margin: >= 0, stated beforehand; 0 for 'above' and 'below' as a rule.
    equivalence: >= 0, of 'above' and 'below': up to where a difference counts
      as none; 0: nothing was said of that, and none can be shown.

  Raises:
    ValueError: an unknown expectation; or no margin where one is needed.
  """
  if expected not in EXPECTED:
    raise ValueError(f'{expected!r} is none of {EXPECTED}')
  is_one_sided = expected in ('above', 'below')
  if margin < 0 or not (is_one_sided or margin):
    raise ValueError(f'{expected}: margin {margin} has to be positive')
  if found is None:
    return Finding(CANNOT_TELL, 'it was not measured in these runs')
  if math.isnan(found.mean):
    return Finding(CANNOT_TELL, 'it is not defined in every seed')
  if math.isnan(found.half):
    return Finding(CANNOT_TELL, 'a single seed has no interval')
  low, high = found.low, found.high
  if is_one_sided and -equivalence < low and high < equivalence:
    return Finding(NO_DIFFERENCE, f'it is within {equivalence:g}')
  limits = {
    'above': (margin, math.inf), 'below': (-math.inf, -margin),
    'equal': (-margin, margin), 'not_below': (-margin, math.inf),
    'not_above': (-math.inf, margin),
  }  # fmt: skip
  least, most = limits[expected]
  if least < low and high < most:
    return Finding(HOLDS, 'the interval lies wholly on the expected side')
  if is_one_sided:
    if high < 0 if expected == 'above' else low > 0:
      return Finding(OPPOSITE, 'the opposite was measured')
    return Finding(CANNOT_TELL, 'no difference could be told')
  if high < least or low > most:
    return Finding(OPPOSITE, f'a difference beyond {margin:g} was measured')
  return Finding(CANNOT_TELL, f'whether it is within {margin:g} is open')


def expectation(expected: str, margin: float) -> str:
  """What is expected of a number, see `judge`, such as 'below -0.1'."""
  return {
    'above': f'above {margin:g}',
    'below': f'below {-margin or 0.0:g}',
    'equal': f'within {margin:g} of 0',
    'not_below': f'not below {-margin:g}',
    'not_above': f'not above {margin:g}',
  }[expected]


def verdict(
  judged: dict[str, Finding], conditions: Sequence[Condition] = ()
) -> tuple[str, str]:
  """One verdict for a claim, as the page's docstring defines it; and why.

  Args:
    judged: what was compared -> what it says, of the measures that decide.
  """
  failed = [condition.text() for condition in conditions if condition.fails]
  if failed:
    return NOT_POSED, '; '.join(failed)
  if not judged:
    return NOTHING, 'it is reported'
  kinds = [finding.verdict for finding in judged.values()]
  kind = min(kinds, key=ORDER.index)
  if kind == HOLDS and len(kinds) == 1:
    return kind, 'the interval lies wholly on the expected side'
  if kind == HOLDS:
    return kind, f'all {len(kinds)} intervals lie where they were expected'
  wrong = [
    f'{what}: {finding.sentence}'
    for what, finding in judged.items()
    if finding.verdict != HOLDS
  ]
  if len(wrong) < len(kinds):
    wrong.append(f'{len(kinds) - len(wrong)} of {len(kinds)} hold')
  return kind, '; '.join(wrong)


def of_claim(claim: claims.Claim, outcome: str, arms: data.Arms) -> Result:
  """All measures and checks of a claim, and its verdict.

  Raises:
    DataError: no run is done, or one lacks what it should have logged.
  """
  runs = [run for by_seed in arms.values() for run in by_seed.values()]
  if not runs:
    raise data.DataError('no unit is done')
  estimates, judged, expectations = {}, {}, {}
  for measure in claim.measures:
    found = _measured(measure, arms, claim.points)
    estimates |= found
    if measure.expected:
      text = expectation(measure.expected, measure.margin)
      expectations |= dict.fromkeys(found, text)
      judged |= {
        what: judge(
          one, measure.expected, measure.margin, measure.equivalence
        )
        for what, one in found.items()
      }  # fmt: skip
  conditions = tuple(
    Condition(what, found, check.least, check.most)
    for check in claim.checks
    for what, found in _measured(check.measure, arms, claim.points).items()
  )
  kind, sentence = verdict(judged, conditions)
  commits = dict.fromkeys(
    c for run in runs for c in run.record.get('commits', ())
  )
  return Result(
    estimates=estimates,
    judged=judged,
    expectations=expectations,
    conditions=conditions,
    verdict=kind,
    sentence=sentence,
    outcome=outcome,
    seeds=tuple(sorted({run.seed for run in runs})),
    iterations=max(run.iterations for run in runs),
    commits=tuple(commits),
  )


def _measured(measure, arms, points):
  try:
    return findings.measured(measure, arms, points)
  except data.NotKept:
    return {findings.name(measure, arms): None}
