"""Which numbers of runs go into which figure of a comparison."""

from collections.abc import Sequence

import numpy as np

from k15 import charts
from k15 import comparison_figures
from k15 import config_stages
from k15.comparison import Group

# What a stage logs -> its charts: title, key, y axis, options.
_RL = (
  ('Reward', 'rl/reward', 'mean raw reward', dict(limits=(0, 1))),
  (
    'Held-out accuracy while training',
    'evaluation/accuracy',
    'accuracy',
    dict(limits=(0, 1), is_sparse=True),
  ),
  ('Response length', 'rl/length_mean', 'mean, tokens', {}),
  (
    'Response length, 95th percentile',
    'rl/length_p95',
    '95th percentile, tokens',
    {},
  ),
  (
    'Held-out tokens while training',
    'evaluation/mean_tokens',
    'mean, tokens',
    dict(is_sparse=True),
  ),
  ('Entropy', 'rl/entropy', 'nats per token', dict(limits=(0, None))),
  (
    'Groups without signal',
    'rl/zero_variance_groups',
    'fraction of groups',
    dict(limits=(0, 1)),
  ),
  (
    'Distance from the reference',
    'rl/log_ratio_rms',
    'rms of the log-ratio, nats',
    dict(limits=(0, None)),
  ),
  ('Gradient norm', 'rl/grad_norm', 'norm', dict(is_log=True)),
  ('Seconds per iteration', 'seconds', 'seconds', dict(limits=(0, None))),
)
_SFT = (
  ('Loss', 'sft/loss', 'nats per token', dict(xlabel='step')),
  (
    'Token accuracy',
    'sft/token_accuracy',
    'fraction of tokens',
    dict(xlabel='step'),
  ),
)
_DPO = (
  ('Loss', 'dpo/loss', 'nats per pair', dict(xlabel='step')),
  (
    'Preferred over rejected',
    'dpo/accuracy',
    'fraction of pairs',
    dict(xlabel='step', limits=(0, 1)),
  ),
  ('Margin', 'dpo/margin', 'nats', dict(xlabel='step')),
)
CHARTS = {'rl': _RL, 'dpo': _DPO, 'sft': _SFT}
_HIDDEN = 'time/judging_seconds'  # goes on beside the rollout
_ASIDE = 'time/evaluation_seconds'  # not part of training


def stage_charts(groups: Sequence[Group], stage: str) -> list[charts.Chart]:
  """Charts of all that two runs or more have logged in a stage.

  Args:
    groups: in the order of their colours.
    stage: one that logs something.
  """
  tables = [
    [_table(run.records, stage) for run in found.runs] for found in groups
  ]
  made = []
  wanted = CHARTS[config_stages.STAGES[stage].curves]
  for title, key, ylabel, options in wanted:
    lines = {
      found.label: [(x, table[key]) for x, table in own if key in table]
      for found, own in zip(groups, tables, strict=True)
    }
    if sum(map(len, lines.values())) > 1:
      picture = comparison_figures.curves(lines, ylabel, **options)
      made.append((title, picture, _missing(lines)))
  return made


def _table(records, stage):
  """Steps and columns of a stage, with the seconds of all its phases."""
  x, table = charts.columns(records, stage)
  phases = [
    np.nan_to_num(values)
    for key, values in table.items()
    if key.startswith('time/') and key.endswith('_seconds')
    and key not in (_HIDDEN, _ASIDE)
  ]  # fmt: skip
  return x, table | ({'seconds': np.sum(phases, axis=0)} if phases else {})


def _missing(lines):
  """Which groups a chart has not got."""
  absent = [label for label, own in lines.items() if not own]
  if not absent:
    return ''
  if len(absent) > 3:
    return f'{len(absent)} of {len(lines)} groups have not logged this.'
  return f'Not logged: {"; ".join(absent)}.'
