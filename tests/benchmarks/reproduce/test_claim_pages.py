"""Pages of figures: what the published JSON says, and nothing else."""

import json
import pathlib
import re

import pytest

from benchmarks.reproduce import claim_pages
from experiments.ablations import claims

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / 'docs' / 'reproduce'
PUBLISHED = [n for n in claims.FIGURES if (FOLDER / f'{n}.json').exists()]
RUN = dict(
  unit='tau=0.4,seed=0',
  overrides={
    'loss.tau': 0.4,
    'optimizer.learning_rate': 4e-4,
    'seed': 0,
    'checkpoint': 'runs/reproduce/warm_up/seed=0/models/sft',
  },
  seconds=90.0,
  curves={},
)
# As the first ones were: without checks, expectations or a stage.
OLD = dict(
  name='tau',
  figure='eq. 3',
  question='Does it hold?',
  paper='It says so.',
  command='make reproduce FIGURE=tau',
  config='experiments/ablations/tau.py:cpu',
  date='2026-11-21',
  commits=['abc1234'],
  seeds=[0],
  iterations=24,
  verdict='cannot tell',
  sentence='a single seed has no interval',
  outcome='Rested.',
  settings={'task.name': 'facts', 'stages': ['rl'], 'rl.iterations': 24},
  measures={
    'gain': dict(values=[0.1], mean=0.1, half_width=None, decides=True,
                 verdict='cannot tell'),
    'tokens a|b': dict(values=[], mean=None, half_width=None, decides=False),
  },
  arms={'pulled': {'0': RUN}},
)  # fmt: skip


def test_a_page_of_an_old_json():
  text = claim_pages.to_markdown(OLD)
  lines = text.splitlines()
  assert lines[0] == '# eq. 3: Does it hold?'
  assert '## Verdict: cannot tell' in lines
  assert 'A single seed has no interval.' in lines
  assert '**Why.** Rested.' in lines
  assert '| gain | **0.1** |  | cannot tell |' in lines
  assert '| tokens a\\|b | not measured |  |  |' in lines
  assert '| pulled | `loss.tau=0.4` | 0.0004 | 0 | 1.5 |' in lines
  assert (
    'All arms have `task.name=facts`, `stages=["rl"]`, `rl.iterations=24`.'
  ) in lines
  assert '2026-11-21, 24 iterations, commits abc1234.' in lines
  assert '    make reproduce FIGURE=tau' in lines
  assert 'Conditions' not in text and 'Changed' not in text


def test_a_page_of_a_new_one_has_conditions_and_expectations():
  moved = dict(values=[0.2, 0.2], mean=0.2, half_width=0.0)
  gain = OLD['measures']['gain'] | dict(expected='above 0')
  text = claim_pages.to_markdown(
    OLD
    | dict(
      checks={'moved': moved | dict(least=0.3, most=None, fails=True)},
      measures={'gain': gain},
      changed='the check was added',
      stage='pretrain',
    )
  )
  assert '| moved | 0.200 ± 0.000 | at least 0.3 | fails |' in text
  assert '| gain | **0.1** | above 0 | cannot tell |' in text
  assert '**Changed after the runs.** The check was added.' in text
  assert 'rl.iterations' not in text and '24 logged steps' in text


@pytest.mark.parametrize('name', PUBLISHED)
def test_pages_are_those_of_their_json(name):
  content = json.loads((FOLDER / f'{name}.json').read_text())
  text = (FOLDER / f'{name}.md').read_text()
  again = 'python -m benchmarks.reproduce --pages writes it anew'
  assert text == claim_pages.to_markdown(content), again
  for link in re.findall(r'\]\(([^)]+)\)', text):
    assert (FOLDER / link).exists(), link


def test_there_are_no_other_pages():
  assert {path.stem for path in FOLDER.glob('*.md')} == set(PUBLISHED)
