"""docs/reproduce/NAME.md: a figure, its verdict, and all that led to it.

It is written from what docs/reproduce/NAME.json says and from nothing else, so
that a page can be made of runs that are gone, and of a claim that has changed.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.reproduce import findings
from benchmarks.reproduce import published
from benchmarks.reproduce import tables
from experiments.ablations import scales

# Of what all arms have in common: enough to tell which task and how long.
_SHOWN = 'task.name', 'stages', 'policy.num_layers', 'policy.d_model'
_SHOWN_OF_RL = (
  'rl.iterations', 'rl.problems_per_iteration', 'rl.group_size', 'rl.epochs',
  'loss.tau', 'rollout.max_length',
)  # fmt: skip


def to_markdown(content: Mapping[str, Any]) -> str:
  """The page of a figure.

  Args:
    content: of the JSON; fields that are younger than it are left out.
  """
  name = content['name']
  parts = [
    f'# {content["figure"]}: {content["question"]}',
    f'**The paper.** {content["paper"]}',
    f'![What was measured of {name}]({name}.png)',
    f'## Verdict: {content["verdict"]}',
    _sentence(content['sentence']),
  ]
  if content.get('asked_anew'):
    parts += [f'**Asked anew since.** {_sentence(content["asked_anew"])}']
  if content['outcome']:
    parts += [f'**Why.** {_sentence(content["outcome"])}']
  if content.get('changed'):
    parts += [f'**Changed after the runs.** {_sentence(content["changed"])}']
  parts += _conditions(content)
  parts += ['## Measures', _measures(content)]
  parts += ['## Runs', _runs(content), _common(content), _history(content)]
  parts += [f'    {content["command"]}']
  # From docs/reproduce/.
  config = f'../../{content["config"].partition(":")[0]}'
  parts += [
    f'[All figures, and what a verdict is](../reproduction.md), the [claim and'
    f' its arms]({config}), [all curves]({name}.json).'
  ]
  return '\n\n'.join(parts) + '\n'


def _sentence(text):
  return f'{text[:1].upper()}{text[1:].removesuffix(".")}.'


def _conditions(content):
  """What has to be so for the runs to ask the question, if anything has."""
  rows = [
    (c.what, findings.text(c.found) if c.found else '', c.needs, c.state)
    for c in published.conditions_of(content)
  ]
  columns = 'condition', 'mean over seeds', 'needed', ''
  return ['## Conditions', _table(columns, rows)] if rows else []


def _measures(content):
  rows = []
  for what, measure in content['measures'].items():
    value, decides = tables.number(measure), measure.get('decides')
    rows.append(
      (
        what,
        f'**{value}**' if decides else value,
        measure.get('expected', ''),
        measure.get('verdict', ''),
      )
    )
  return _table(('mean over seeds ± 95 %', 'value', 'expected', ''), rows)


def _runs(content):
  rows = []
  for label, runs in content['arms'].items():
    overrides = [run['overrides'] for run in runs.values()]
    # The seed, and the model of that seed that a run begins with, are no
    # settings of the arm.
    shared = {
      key: value
      for key, value in overrides[0].items()
      if key != 'seed' and 'seed=' not in str(value)
    }
    is_rl = 'rl' in shared.get('stages', content['settings'].get('stages', ()))
    rate = content['settings'].get(scales.RATE) if is_rl else None
    rate = shared.pop(scales.RATE, rate)
    seconds = np.mean([run['seconds'] for run in runs.values()])
    rows.append(
      (
        label,
        ', '.join(f'`{k}={_value(v)}`' for k, v in shared.items()),
        '' if rate is None else f'{rate:g}',
        ', '.join(runs),
        f'{seconds / 60:.1f}',
      )
    )
  columns = 'arm', 'settings', 'learning rate of RL', 'seeds', 'minutes a run'
  return _table(columns, rows)


def _common(content):
  settings = content['settings']
  names = _SHOWN + _SHOWN_OF_RL * _is_of_rl(content)
  shown = [f'`{k}={_value(settings[k])}`' for k in names if k in settings]
  return f'All arms have {", ".join(shown)}.'


def _history(content):
  commits = ' '.join(content['commits']) or 'unknown'
  unit = 'iterations' if _is_of_rl(content) else 'logged steps'
  # Stages that are judged by their ends alone have none.
  steps = f'{content["iterations"]} {unit}, ' * bool(content['iterations'])
  return f'{content["date"]}, {steps}commits {commits}.'


def _is_of_rl(content):
  return content.get('stage', 'rl') == 'rl'


def _value(value):
  return value if isinstance(value, str) else json.dumps(value)


def _table(columns, rows):
  return '\n'.join([tables.header(columns), *map(tables.line, rows)])
