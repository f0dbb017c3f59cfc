"""What a claim is made of: pictures, and comparisons that give its verdict.

Each page of this folder has ARMS, the settings that are compared; CLAIM, what
the paper saw and by which comparisons `make reproduce` judges it; and OUTCOME,
why it came out so in the eyes of the authors; with ONE_RATE all arms have one
learning rate.  A claim is written before its
runs, margins and checks included, and the outcome after them; what of it was
changed later it says itself.

A metric is a key of metrics.jsonl, of `Claim.stage`, or one of these: 'seconds'
and 'decode_steps' of an iteration; 'NAME_total' for its sum since the
start; 'summary/accuracy' and 'summary/mean_tokens' after the last stage of a
run; 'start/NAME' for the metric of the run that a run began with.
"""

import dataclasses

# All pages with a CLAIM, in the order of the table that they fill.
FIGURES = (
  'context_length', 'context_length_walks', 'long2short', 'model_size',
  'curriculum', 'negative_gradients', 'length_penalty', 'prioritized',
  'partial_rollouts', 'loss_segments', 'tau', 'baseline', 'optimizer_reset',
  'grpo', 'distill', 'mixture', 'long_context', 'vision',
)  # fmt: skip
# Of ARMS, in the file's order: instead of a label.
FIRST, LAST, EACH = '<first>', '<last>', '<each>'
ACCURACY, TOKENS = 'evaluation/accuracy', 'evaluation/mean_tokens'
GREEDY, SUMMARY = 'evaluation/greedy_accuracy', 'summary/accuracy'
# Of walks over facts: P(rests on a misconception | right), and the luck of
# wrong steps, P(right | rests on one).  A check by 'before' asks the warm-up.
MISCONCEPTION = 'evaluation/misconception_given_right'
LUCK = 'evaluation/right_given_misconception'
# Work that a curve may be drawn over, and compared at.
TRAINED, DECODED = 'rl/responses_trained_total', 'decode_steps_total'
# Of accuracy: about what the paper's curriculum gains (Fig. 9), so that what
# counts as equal is less than the smallest gain that the paper shows.
MARGIN = 0.03


@dataclasses.dataclass(frozen=True)
class Panel:
  """One picture: a metric over iterations, over work, or against another.

  Attributes:
    y: metric.
    x: 'iteration', a sum such as 'seconds_total', TRAINED or DECODED, or the
      metric that y is drawn against.
    fit: whether each seed gets its least-squares line.
    mark: (arm, config key) of an iteration at which something changes.
  """

  y: str
  x: str = 'iteration'
  fit: bool = False
  mark: tuple[str, str] | tuple[()] = ()


@dataclasses.dataclass(frozen=True)
class Measure:
  """A number of each seed, and what was expected of its mean.

  Attributes:
    what: names it, with its unit; within a claim no two have one name.
    metric: of which it is a number.
    arm: label in ARMS, FIRST, LAST, or EACH for one measure of every arm.
    against: another arm, subtracted seed by seed; empty: none.
    by: how a curve becomes a number: 'final' (mean of the last
      `Claim.points`), 'before' (RL), 'change' (final minus the first value),
      'mean', 'area' (mean height), 'late_rise' (of the least-squares line over
      the last third), 'slope' and 'correlation' (against the metric x).
    x: of a slope or correlation, TOKENS unless given; an area's is a sum, and
      two arms are compared up to where both have come.
    after, until: the part of the curve that counts, (after, until] iterations;
      a text is a config key of the arm.
    expected: 'above', 'below', 'equal', 'not_below' or 'not_above', see the
      page that judges; empty: reported and no more.
    margin: of that, in the unit of the number, chosen before any run.
  """

  what: str
  metric: str
  arm: str
  against: str = ''
  by: str = 'final'
  x: str = ''
  after: str | float | None = None
  until: str | float | None = None
  expected: str = ''
  margin: float = 0.0

  @property
  def equivalence(self) -> float:
    """Up to where a difference counts as none; 0: nothing is said of that.

    The margin, and MARGIN of accuracies for which none is given: a rule for
    all, so that no number chooses its own.
    """
    is_accuracy = self.metric in (ACCURACY, GREEDY, SUMMARY)
    is_slope = self.by in ('slope', 'correlation')
    return self.margin or MARGIN * (is_accuracy and not is_slope)


@dataclasses.dataclass(frozen=True)
class Check:
  """What has to be so in the runs for them to ask the question at all.

  A manipulation check, such as of the pull to a reference: that policies went
  away from it.  It is written with the claim, and is about what was set up,
  never about who won.

  Attributes:
    what: names it, with its unit.
    metric, arm, by, after, until: as of a `Measure`; of EACH all arms have to
      pass.
    least, most: of the mean over seeds; None: no such end.
  """

  what: str
  metric: str
  arm: str
  by: str = 'mean'
  after: str | float | None = None
  until: str | float | None = None
  least: float | None = None
  most: float | None = None

  @property
  def measure(self) -> Measure:
    return Measure(self.what, self.metric, self.arm, by=self.by,
                   after=self.after, until=self.until)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Claim:
  """One figure of the paper, or one choice of it that can be switched.

  Attributes:
    figure: such as 'Fig. 9', or the section of a choice without a figure.
    question: the title of the picture.
    paper: what the paper saw, one short sentence.
    panels: from left to right.
    measures: those with an expectation give the verdict; without any, nothing
      is expected.
    checks: if one fails, the question is not posed by the runs.
    points: of a curve's end that 'final' is the mean of.
    changed: what of the claim was changed after its runs were seen, and why;
      empty: nothing.
    stage: whose metrics count; of another than RL an iteration is a step.
  """

  figure: str
  question: str
  paper: str
  panels: tuple[Panel, ...]
  measures: tuple[Measure, ...]
  checks: tuple[Check, ...] = ()
  points: int = 3
  changed: str = ''
  stage: str = 'rl'


BOTH = Panel(ACCURACY), Panel(TOKENS)


def area(
  arm: str, against: str, expected: str = '', margin: float = 0.0, x: str = ''
) -> Measure:
  """Difference of the mean accuracy of all evaluations of a run.

  With TRAINED or DECODED as x it is the mean over equal work.
  """
  over = {
    '': 'mean of the run',
    TRAINED: 'at equal trained responses',
    DECODED: 'at equal decode steps',
  }[x]
  what = f'accuracy, {over}: {arm} minus {against}'
  return Measure(what, ACCURACY, arm, against, 'area', x,
                 expected=expected, margin=margin)  # fmt: skip


def final(
  arm: str, against: str, expected: str = '', margin: float = 0.0,
  metric: str = ACCURACY,
) -> Measure:  # fmt: skip
  """Difference of a metric at the end of RL."""
  name = metric.rpartition('/')[2].removeprefix('mean_').replace('_', ' ')
  what = f'final {name}: {arm} minus {against}'
  return Measure(what, metric, arm, against, expected=expected, margin=margin)


def flat_start(arm: str) -> Check:
  """That the run which an arm begins with had stopped rising."""
  return _flat('the run before', f'start/{ACCURACY}', arm)


def flat_end(arm: str) -> Check:
  """That the run of an arm has stopped rising."""
  return _flat(arm, ACCURACY, arm)


def _flat(of, metric, arm):
  what = f'accuracy, rise in the last third of {of}'
  return Check(what, metric, arm, 'late_rise', least=-0.02, most=0.02)
