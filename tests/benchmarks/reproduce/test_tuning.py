"""The area under a curve of held-out accuracy, by arm, learning rate and seed.

Runs are those of a stand-in for k15.main, which writes at once.
"""

import json
import pathlib

import fake_ablation as fake
import pytest

from benchmarks.reproduce import __main__ as reproduce
from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import tuning
from experiments.ablations import claims
from experiments.ablations import scales

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Of four evaluations.  At the largest rate seed 9 breaks off after two, and
# accuracy is no number in the last one of seed 10; no run of it says why.
_RUN = """
import json, pathlib, sys
workdir, settings = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
if 'sft' in settings['stages']:
  sys.exit((workdir.parent / 'breaks').exists())
assert (pathlib.Path(settings['checkpoint']).parents[1] / 'unit.json').exists()
rate, seed = settings['optimizer.learning_rate'], settings['seed']
curve = [0.2, 0.4, 0.4, {1e-4: 0.6, 2e-4: 0.8, 4e-4: 1.0}[rate]]
is_lost = rate == 4e-4 and seed == 9
if rate == 4e-4 and seed == 10:
  curve[3] = float('nan')
lines = [
  {'stage': 'rl', 'step': i, 'evaluation/accuracy': value}
  for i, value in enumerate(curve[:2] if is_lost else curve)
]
(workdir / 'metrics.jsonl').write_text('\\n'.join(map(json.dumps, lines)))
sys.exit(is_lost)
"""
_SWEEP = """
from experiments.ablations import scales

def sweep(variant=''):
  return scales.sweep(ARMS, variant)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A repository of two figures that share an arm, and of their warm-up."""
  (tmp_path / 'run.py').write_text(_RUN)
  folder = tmp_path / 'experiments/ablations'
  fake.write_file(folder / 'warm_up.py', {'all': {}}, 11, ('sft',))
  pages = dict(
    tau={'weak': {'loss.tau': 0.1}, 'strong': {'loss.tau': 0.4}},
    grpo={'GRPO': {'loss.method': 'grpo'}, 'eq. 3': {'loss.tau': 0.1}},
  )
  for name, arms in pages.items():
    arms = {label: arm | {scales.RATE: 2e-4} for label, arm in arms.items()}
    path = folder / f'{name}.py'
    fake.write_file(path, arms, rl__iterations=8, evaluation__every=2)
    path.write_text(path.read_text().partition('def sweep')[0] + _SWEEP)

  fake.stand_in(monkeypatch, tmp_path / 'run.py')
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_a_run_that_is_lost_counts_as_it_is(place, capsys):
  # The exit code says that runs failed; the areas are kept all the same.
  assert reproduce.main(['--tune', 'tau', 'grpo']) == 1
  saved = json.loads(tuning.PATH.read_text())
  assert list(saved) == ['grpo', 'tau']
  # (0.2 + 0.4 + 0.4 + 0.6) / 4, 0.8 and 1.0 in place of 0.6, (0.2 + 0.4) / 4
  # of what broke off, (0.2 + 0.4 + 0.4) / 4 of what was no number at last.
  expected = {
    '0.0001': {'8': 0.4},  # 0.1 behind with the first seed
    '0.0002': {'8': 0.45, '9': 0.45, '10': 0.45},
    '0.0004': {'8': 0.5, '9': 0.15, '10': 0.25},
  }
  for name, arms in (('tau', ['weak', 'strong']), ('grpo', ['GRPO', 'eq. 3'])):
    assert list(saved[name]) == arms
    for found in saved[name].values():
      for rate, by_seed in expected.items():
        assert found[rate] == pytest.approx(by_seed)
  printed = capsys.readouterr().out
  assert (
    '  weak: 0.0002 (0.0001: 0.400, 0.0002: 0.450, 0.0004: 0.300)\n'
  ) in printed
  lost = 'tau=0.1,learning_rate=0.0004,seed=9 is failed: 2 of 4 evaluations'
  assert f'{lost}, the others count as 0' in printed
  # The arm that both have ran once, but for the run that was lost.
  borrowed = 'done already in another figure: '
  shared = [line for line in printed.splitlines() if borrowed in line]
  assert len(shared) == 6
  # Of default tau, so that names of this figure do not say it.
  assert all('method=mirror_descent' in line for line in shared)


def test_the_warm_up_runs_before_and_for_these_seeds_alone(place, capsys):
  warm_up = place / 'runs/reproduce/warm_up'
  warm_up.mkdir(parents=True)
  (warm_up / 'breaks').touch()
  assert reproduce.main(['--tune', 'tau']) == 1
  assert 'has not ended: not begun' in capsys.readouterr().err
  assert not tuning.PATH.exists()
  (warm_up / 'breaks').unlink()
  assert reproduce.main(['--tune', 'tau']) == 1
  made = {path.name for path in warm_up.glob('*/')} - {'breaks'}
  assert made == {f'seed={seed}' for seed in scales.TUNING_SEEDS}
  assert not (place / 'runs/reproduce/tau').exists()


def _write_tau(place, arms):
  path = place / 'experiments/ablations/tau.py'
  fake.write_file(path, arms, rl__iterations=8, evaluation__every=2)
  path.write_text(path.read_text().partition('def sweep')[0] + _SWEEP)


def test_arms_without_rl_have_no_rate_and_do_not_run(place, capsys):
  taught = {'taught': {'stages': ('sft',)}}
  _write_tau(place, taught | {'RL': {'loss.tau': 0.4, scales.RATE: 2e-4}})
  assert reproduce.main(['--tune', 'tau']) == 1
  assert list(json.loads(tuning.PATH.read_text())['tau']) == ['RL']
  made = [path.name for path in (place / 'runs/tune/tau').glob('*/')]
  assert made and not any('sft' in name for name in made)
  _write_tau(place, taught)
  assert reproduce.main(['--tune', 'tau']) == 1
  assert 'no arm has RL' in capsys.readouterr().err


def test_arms_that_are_one_run_at_first_have_one_rate():
  # 0.7 + 0.6 is less than 0.6 + 0.8; 3 was dropped by one arm's first seed.
  found = {
    'a': {'1': {'8': 0.7, '9': 0.7}, '2': {'8': 0.6, '9': 0.6}, '3': {'8': 0}},
    'b': {'1': {'8': 0.6, '9': 0.6}, '2': {'8': 0.8, '9': 0.8},
          '3': {'8': 0.9, '9': 0.9}},
  }  # fmt: skip
  assert tuning.chosen(found, True) == {'a': '2', 'b': '2'}
  assert tuning.chosen(found, False) == {'a': '1', 'b': '3'}


@pytest.mark.parametrize('name', claims.FIGURES)
def test_the_rate_of_an_arm_is_its_best(name):
  """Of areas of today's seeds; those that are older are reported."""
  kept = json.loads((ROOT / tuning.PATH).read_text()).get(name, {})
  page = data.page_of(f'experiments/ablations/{name}.py')
  table, is_one = page['ARMS'], page.get('ONE_RATE', False)
  asked = {label for label, arm in table.items() if scales.RATE in arm}
  seeds = {str(seed) for seed in scales.TUNING_SEEDS}
  known = {
    label
    for label in asked & set(kept)
    if seeds in [set(a) for a in kept[label].values() if type(a) is dict]
  }
  if known:
    rates = tuning.chosen({label: kept[label] for label in known}, is_one)
    for label, best in rates.items():
      assert float(best) == table[label][scales.RATE], (label, best)
  if asked - known:
    missing = ', '.join(sorted(asked - known))
    pytest.skip(f'no areas of three seeds are kept yet of {missing}')
