"""Which numbers of a run go into which figure of the report.

Every chart is (title, Figure, caption); one whose numbers are missing is left
out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from k15.equations import correctness
from k15.report import figures

# Line charts: title, {key: label}, y axis, options, caption.
_SFT = (
  ('Loss', {'sft/loss': 'loss'}, 'nats per token',
   dict(xlabel='step', smooth=False), 'Cross-entropy of worked solutions.'),
  ('Token accuracy', {'sft/token_accuracy': 'token accuracy'},
   'fraction of tokens',
   dict(xlabel='step', smooth=False, colors=figures.COLORS[2:]),
   'Tokens of worked solutions given a probability above one half.'),
)  # fmt: skip
_TEXT = (
  ('Loss', {'text/loss': 'training', 'text/held_out_loss': 'held-out'},
   'nats per token', dict(xlabel='step', smooth=False, points=('held-out',)),
   'Cross-entropy of documents; held out are texts that no stage learns.'),
  ('Loss by domain', 'text/loss_domain_', 'nats per token',
   dict(xlabel='step', smooth=False),
   'The training loss again, split by the domain of the document.'),
  ('Held-out loss by domain', 'text/held_out_domain_', 'nats per token',
   dict(xlabel='step', is_sparse=True),
   'Before the first step, now and then, and after the last.'),
  ('Held-out loss by row length', 'text/held_out_at_', 'nats per token',
   dict(xlabel='step', is_sparse=True),
   'The same documents in rows of so many tokens: is what is short kept, and '
   'what is long learnt?'),
  ('Notes found by row length', 'text/needle_at_', 'fraction of notes',
   dict(xlabel='step', limits=(0, 1), is_sparse=True),
   'A note at some depth of a row, asked for at its end.'),
  ('Pictures read', {'text/read': 'held-out'}, 'probability',
   dict(xlabel='step', limits=(0, 1), is_sparse=True),
   'Of a whole description of one picture, in the mean.'),
  ('Pictures found by row length', 'text/picture_at_', 'probability',
   dict(xlabel='step', limits=(0, 1), is_sparse=True),
   'Of several pictures in a row one is asked for at its end: the probability '
   'of its whole description, in the mean.'),
)  # fmt: skip
_RL = (
  ('Reward', {'rl/reward': 'training', 'evaluation/accuracy': 'held-out'},
   'mean raw reward', dict(limits=(0, 1), points=('held-out',)),
   'What responses earned in an iteration, right answers unless the reward '
   'has more parts, and held-out accuracy. Here and below, thin lines are '
   'measurements, thick ones their running mean.'),
  ('Parts of the reward',
   {'reward/accuracy': 'accuracy', 'reward/format': 'format'},
   'mean, before weights', dict(limits=(0, 1)),
   'What the raw reward is the weighted sum of; right is what is accurate.'),
  ('The reward model beside the rule',
   {'reward/truth': 'right by the rule',
    'reward/false_positive': 'wrong, taken for right',
    'reward/false_negative': 'right, taken for wrong'},
   'fraction of responses',
   dict(limits=(0, 1), colors=('#2a9d6f', '#c8443c', '#98a4b5')),
   'The model is what trains; false positives that rise are a policy that '
   'learns to deceive it.'),
  ('Response length',
   {'rl/length_mean': 'mean', 'rl/length_p95': '95th percentile',
    'rl/length_correct': 'right (mean)', 'rl/length_wrong': 'wrong (mean)'},
   'tokens',
   dict(limits=(0, None), colors=('#2f6fde', '#98a4b5', '#2a9d6f', '#c8443c')),
   'Whole responses, including what earlier iterations wrote of them.'),
  ('Reward by difficulty',
   {'rl/reward_easy': 'easy', 'rl/reward_medium': 'medium',
    'rl/reward_hard': 'hard'},
   'mean raw reward',
   dict(limits=(0, 1), colors=('#2a9d6f', '#e08a1e', '#c8443c')),
   'The reward again, split by the difficulty label of the problem.'),
  ('Reward by domain', 'rl/reward_domain_', 'mean raw reward',
   dict(limits=(0, 1)),
   'The reward again, split by the kind of problem.'),
  ('Entropy', {'rl/entropy': 'entropy'}, 'nats per token',
   dict(limits=(0, None), colors=('#7a5cc9',)),
   'How undecided the policy is about the next token: near zero it no '
   'longer explores.'),
  ('Groups without signal', {'rl/zero_variance_groups': 'zero variance'},
   'fraction of groups', dict(limits=(0, 1), colors=('#8a6d3b',)),
   'Groups whose responses all got the same reward: no advantage, only the '
   'pull to the reference.'),
  ('Judging',
   {'time/judging_seconds': 'something was judged',
    'time/reward_seconds': 'waited for'},
   'seconds per iteration',
   dict(limits=(0, None), smooth=False, colors=('#98a4b5', '#c8443c')),
   'Time in which responses were judged, and what of it the run stood still '
   'for: the rest was hidden behind the rollout.'),
)  # fmt: skip
_DPO = (
  ('Loss', {'dpo/loss': 'loss'}, 'nats per pair',
   dict(xlabel='step', smooth=False),
   'log 2 where policy and reference agree.'),
  ('Preferred over rejected', {'dpo/accuracy': 'accuracy'}, 'fraction of pairs',
   dict(xlabel='step', limits=(0, 1), colors=figures.COLORS[2:]),
   'Pairs in which the implicit reward of the preferred response is higher.'),
  ('Implicit rewards',
   {'dpo/preferred_reward': 'preferred', 'dpo/rejected_reward': 'rejected',
    'dpo/margin': 'margin'},
   'nats', dict(xlabel='step', colors=('#2a9d6f', '#c8443c', '#98a4b5')),
   'beta times the log-ratio of policy and reference, mean over pairs.'),
)  # fmt: skip
_VALUE = (
  ('Loss', {'value/loss': 'loss', 'value/text_loss': 'text'}, 'nats',
   dict(xlabel='step', smooth=True),
   'log 2 where nothing is known of a label; of text, nats per token.'),
  ('Labels', {'value/accuracy': 'accuracy'}, 'fraction of prompts',
   dict(xlabel='step', limits=(0, 1), colors=figures.COLORS[2:]),
   'Prompts of a step whose value has the sign of their label.'),
)  # fmt: skip
_LINES = dict(text=_TEXT, sft=_SFT, value=_VALUE, dpo=_DPO, rl=_RL)
_VERDICTS = {f'reward/{kind}': kind for kind in ('error', 'wrong', 'correct')}
_STOPS = {
  'rl/stop_eos': 'ended by itself',
  'rl/stop_budget': 'cut by budget',
  'rl/stop_max_length': 'maximum length',
  'rl/stop_repetition': 'repetition',
  'rl/stop_age': 'too old',
}
_PHASES = 'rollout', 'reward', 'ref logprobs', 'update', 'checkpoint'
STAGES = {'sft': 'after SFT', 'rl': 'after RL'}

CURVE = {'rl/reward', 'rl/length_mean'}  # what the key picture needs
_LEVELS = 'easy', 'medium', 'hard'

Record = dict[str, Any]
Table = Mapping[str, np.ndarray]
Chart = tuple[str, Figure, str]


def columns(
  records: Sequence[Record], stage: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  """One array per metric key of a stage, NaN where a step lacks it.

  Args:
    records: of metrics.jsonl.
    stage: 'sft' or 'rl'.

  Returns:
    (steps float64 [N] rising, {key: values float64 [N]}); keys without a
    finite value are left out.
  """
  by_step: dict[float, Record] = {}
  for record in records:
    if record.get('stage') == stage:
      # A step may have several records, such as one that counts examples and
      # one of training: together they are a row.
      by_step.setdefault(record.get('step', 0), {}).update(record)
  steps = sorted(by_step)
  keys = sorted({key for r in by_step.values() for key in r if '/' in key})
  table = {
    key: np.array([by_step[step].get(key) for step in steps], float)
    for key in keys
  }
  table = {key: y for key, y in table.items() if np.isfinite(y).any()}
  return np.array(steps, float), table


def of_stage(curves: str, x: np.ndarray, table: Table) -> list[Chart]:
  """Curves of a stage that logs 'text', 'sft', 'dpo' or 'rl'; see `columns`."""
  charts = _line_charts(x, table, _LINES[curves])
  return charts + _pictures(x, table) if curves == 'rl' else charts


def _pictures(x, table):
  """What RL shows beside lines."""
  charts = []
  if table.keys() >= CURVE:
    # Of before rewards had parts, the reward is the accuracy.
    accuracy = table.get('rl/accuracy', table['rl/reward'])
    figure = figures.scatter(table['rl/length_mean'], accuracy, x)
    caption = (
      'One point per iteration: does accuracy come with tokens? The line is '
      'the running mean.'
    )
    charts.append(('Accuracy against length', figure, caption))
  ratios = [f'rl/log_ratio_{name}' for name in ('mean', 'rms', 'max')]
  if any(key in table for key in ratios):
    missing = np.full(len(x), np.nan)
    sizes = (table.get(key, missing) for key in ratios)
    caption = (
      'log π(response) − log π_ref(response): how far the updates of one '
      'iteration move the policy.'
    )
    figure = figures.log_ratio(x, *sizes)
    charts.append(('Distance from the reference', figure, caption))
  return charts + _shares(x, table)


def _shares(x, table):
  charts = []
  stops = {label: table[key] for key, label in _STOPS.items() if key in table}
  if stops:
    figure = figures.stacked(x, stops, 'fraction of responses', top=1)
    caption = 'Responses cut by the token budget go on in the next iteration.'
    charts.append(('Why responses stop', figure, caption))
  verdicts = {
    label: table[key] for key, label in _VERDICTS.items() if key in table
  }
  if verdicts:
    figure = figures.stacked(x, verdicts, 'responses')
    caption = 'Verdicts by kind; an error is a response nobody could judge.'
    charts.append(('Verdicts', figure, caption))
  found = _family(table, 'time/')
  found = {k: y for k, y in found.items() if not k.startswith('judging')}
  if found:
    known = [phase for phase in _PHASES if phase in found]
    phases = {phase: found[phase] for phase in [*known, *found]}
    figure = figures.stacked(x, phases, 'seconds per iteration')
    caption = 'Wall-clock time of each phase of an iteration.'
    charts.append(('Time', figure, caption))
  return charts


def score_charts(scores: Mapping[str, Sequence[Record]]) -> list[Chart]:
  """Bars of held-out accuracy and length, before and after RL.

  Args:
    scores: records of an evaluation by stage, 'sft' and 'rl' or either.
  """
  if not scores:
    return []
  return [
    (
      'Accuracy by domain',
      _bars(scores, domain, rights, 'accuracy, %', scale=100),
      'Never trained on; n counts responses, error bars are one standard '
      'error.',
    ),
    (
      'Accuracy by difficulty',
      _bars(scores, level, rights, 'accuracy, %', scale=100),
      'Thirds of the difficulty label, a number from 0 to 1; - has none.',
    ),
    (
      'Length by domain',
      _bars(scores, domain, lengths, 'mean tokens'),
      'Where the policy learned to think longer, or shorter.',
    ),
    (
      'Length by difficulty',
      _bars(scores, level, lengths, 'mean tokens'),
      'Do harder problems get more tokens?',
    ),
  ]


def of_pictures(x: np.ndarray, table: Table) -> list[Chart]:
  """Held-out problems with pictures, beside those without; see `columns`.

  Args:
    x: float [N], iterations done.
    table: the numbers of `evaluation` by their names.
  """
  panels = {
    'accuracy': {'texts': 'accuracy_texts', 'pictures': 'accuracy_pictures'},
    'agreement': {
      'answers agree': 'agreement',
      'where the text is right': 'agreement_given_text',
    },
  }
  found = {
    ylabel: {label: table[key] for label, key in keys.items() if key in table}
    for ylabel, keys in panels.items()
  }
  found = {ylabel: lines for ylabel, lines in found.items() if lines}
  if len(x) < 2 or not found:
    return []
  caption = (
    'Held-out problems, at 0 before RL. Below: how often the answers to a text '
    'and to a picture of it are equal, wrong ones too, and how often where the '
    'text is answered right.'
  )
  charts = [('Texts and pictures', figures.shares(x, found), caption)]
  domains = _family(table, 'pictures_')
  if len(domains) > 1:
    figure = figures.small_shares(x, domains)
    caption = 'Accuracy of the same pictures, split by the kind of problem.'
    charts.append(('Pictures by domain', figure, caption))
  return charts


def rights(records: Sequence[Record]) -> np.ndarray:
  """Verdicts of N records, float [N], 0 or 1."""
  return np.array([correctness.is_right(record) for record in records], float)


def lengths(records: Sequence[Record]) -> np.ndarray:
  """Response lengths of N records, float [N], tokens."""
  return np.array([record.get('length') or 0 for record in records], float)


def level(record: Record) -> str:
  """The third of [0, 1] a record's difficulty lies in; no label, '-'."""
  difficulty = record.get('difficulty')
  return '-' if difficulty is None else _LEVELS[min(int(3 * difficulty), 2)]


def domain(record: Record) -> str:
  return _plain(record.get('domain') or 'all')


def standard_error(values: np.ndarray) -> float:
  """Standard error of the mean of [N] values."""
  return float(values.std() / len(values) ** 0.5)


def spread(items: Sequence[Any], count: int) -> list[Any]:
  """At most `count` items at even distances, the first among them."""
  count = min(count, len(items))
  return [items[i * len(items) // count] for i in range(count)]


def _line_charts(x, table, specifications):
  charts = []
  for title, labels, ylabel, options, caption in specifications:
    if isinstance(labels, str):
      lines = _family(table, labels)
    else:
      lines = {label: table[k] for k, label in labels.items() if k in table}
    if lines:
      options = dict(options)
      if options.pop('is_sparse', False):  # Measured now and then.
        options['points'] = tuple(lines)
      bottom, top = options.get('limits', (None, None))
      highest = max(np.nanmax(y, initial=-np.inf) for y in lines.values())
      if top is not None and highest > top:  # A reward of several parts.
        options = options | dict(limits=(bottom, None))
      picture = figures.curves(x, lines, ylabel, **options)
      charts.append((title, picture, caption))
  return charts


def _family(table, prefix):
  """Columns whose key has the prefix, by the rest of the key."""
  return {
    _plain(key.removeprefix(prefix).removesuffix('_seconds')): y
    for key, y in table.items()
    if key.startswith(prefix)
  }


def _plain(name):
  """A name as a label: no mathematics, no meaning of a leading underscore."""
  return str(name).replace('$', '').replace('_', ' ').strip()


def _bars(scores, key, measure, ylabel, scale=1):
  split = {stage: _split(records, key) for stage, records in scores.items()}
  names = {name for groups in split.values() for name in groups}
  order = {name: i for i, name in enumerate(_LEVELS)}
  names = sorted(names, key=lambda name: (order.get(name, 0), name))
  series = {}
  for stage, groups in split.items():
    values = [measure(groups.get(name, [])) for name in names]
    series[STAGES[stage]] = (
      np.array([scale * v.mean() if len(v) else np.nan for v in values]),
      np.array([scale * standard_error(v) if len(v) else 0 for v in values]),
    )
  counts = [
    max(len(groups.get(name, ())) for groups in split.values())
    for name in names
  ]
  labels = [f'{name}\nn={n}' for name, n in zip(names, counts, strict=True)]
  return figures.bars(labels, series, ylabel, top=100 if scale == 100 else None)


def _split(records, key):
  groups: dict[str, list[Record]] = {}
  for record in records:
    groups.setdefault(key(record), []).append(record)
  return groups
