"""What a claim is made of: pictures, and comparisons that give its verdict.

Each page of this folder has ARMS, the settings that are compared; CLAIM, what
the paper saw and by which comparisons `make reproduce` judges it; and OUTCOME,
why it came out so in the eyes of the authors.  A claim is written before its
runs, margins included, and the outcome after them.

A metric is a key of metrics.jsonl, of `Claim.stage`, or one of these: 'seconds'
and 'decode_steps' of an iteration, 'seconds_total' since the start;
'summary/accuracy' and 'summary/mean_tokens' after the last stage of a run.
"""

import dataclasses

# All pages with a CLAIM, in the order of the table that they fill.
FIGURES = (
  'context_length', 'long2short', 'model_size', 'curriculum',
  'negative_gradients', 'length_penalty', 'prioritized', 'partial_rollouts',
  'loss_segments', 'tau', 'baseline', 'optimizer_reset', 'grpo', 'distill',
  'mixture', 'long_context', 'vision',
)  # fmt: skip
# Of ARMS, in the file's order: instead of a label.
FIRST, LAST, EACH = '<first>', '<last>', '<each>'
ACCURACY, TOKENS = 'evaluation/accuracy', 'evaluation/mean_tokens'
# Of accuracy: about what the paper's curriculum gains (Fig. 9), so that what
# counts as equal is less than the smallest gain that the paper shows.
MARGIN = 0.03


@dataclasses.dataclass(frozen=True)
class Panel:
  """One picture: a metric over iterations, over seconds, or over another.

  Attributes:
    y: metric.
    x: 'iteration', 'seconds_total', or the metric that y is drawn against.
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
    what: names it, with its unit.
    metric: of which it is a number.
    arm: label in ARMS, FIRST, LAST, or EACH for one measure of every arm.
    against: another arm, subtracted seed by seed; empty: none.
    by: how a curve becomes a number: 'final' (mean of the last
      `Claim.points`), 'before' (RL), 'change' (final minus the first value),
      'mean', 'area' (mean height), 'slope' and 'correlation' (against the
      metric x).
    x: of a slope or correlation.
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
  x: str = TOKENS
  after: str | float | None = None
  until: str | float | None = None
  expected: str = ''
  margin: float = 0.0


@dataclasses.dataclass(frozen=True)
class Claim:
  """One figure of the paper, or one choice of it that can be switched.

  Attributes:
    figure: such as 'Fig. 9', or the section of a choice without a figure.
    question: the title of the picture.
    paper: what the paper saw, one short sentence.
    panels: from left to right.
    measures: those with an expectation give the verdict.
    points: of a curve's end that 'final' is the mean of.
    untestable: why it cannot be tested at this scale; empty: it can.
    stage: whose metrics count; of another than RL an iteration is a step.
  """

  figure: str
  question: str
  paper: str
  panels: tuple[Panel, ...]
  measures: tuple[Measure, ...]
  points: int = 3
  untestable: str = ''
  stage: str = 'rl'


BOTH = Panel(ACCURACY), Panel(TOKENS)


def area(
  arm: str, against: str, expected: str = '', margin: float = 0.0
) -> Measure:
  """Difference of the mean accuracy of all evaluations of a run."""
  what = f'accuracy, mean of the run: {arm} minus {against}'
  return Measure(what, ACCURACY, arm, against, 'area',
                 expected=expected, margin=margin)  # fmt: skip


def final(
  arm: str, against: str, expected: str = '', margin: float = 0.0,
  metric: str = ACCURACY,
) -> Measure:  # fmt: skip
  """Difference of a metric at the end of RL."""
  name = 'accuracy' if metric == ACCURACY else 'tokens'
  what = f'final {name}: {arm} minus {against}'
  return Measure(what, metric, arm, against, expected=expected, margin=margin)
