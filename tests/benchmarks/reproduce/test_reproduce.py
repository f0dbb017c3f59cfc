"""`make reproduce` on runs that a stand-in for k15.main writes at once."""

import json
import pathlib
import runpy
import shutil

import fake_ablation as fake
import pytest

from benchmarks.reproduce import __main__ as reproduce
from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import published
from benchmarks.reproduce import tables
from experiments.ablations import claims
from k15 import files
from launch.units import sweep

# Writes what a run of six iterations leaves; accuracy rises faster under the
# curriculum once it is on.
_RUN = """
import json, pathlib, sys
workdir = pathlib.Path(sys.argv[1])
settings = json.loads(sys.argv[2])
if settings['seed'] == 2 and (workdir.parent / 'breaks').exists():
  sys.exit('no luck')
hard = settings['problem_sampler.strategy'] == 'curriculum'
start = pathlib.Path(settings['checkpoint'] or 'a/b/c').parents[1]
start /= 'summary.json'
base = json.loads(start.read_text())['accuracy_after_sft'] if hard else 0.3
lines = []
equal = 0.3 if (workdir.parent / 'vary').exists() else 0.8
for step in range(6):
  accuracy = base + 0.05 * step + (step >= 3) * hard * 0.05
  accuracy += settings['seed'] / 1000 * (1 + hard)
  lines.append(json.dumps({
    'stage': 'rl', 'step': step, 'evaluation/accuracy': accuracy,
    'evaluation/mean_tokens': 20.0 + step, 'time/update_seconds': 1.0,
    'rl/reward': 0.5, 'rl/zero_variance_groups': equal}))
(workdir / 'metrics.jsonl').write_text('\\n'.join(lines))
(workdir / 'summary.json').write_text(json.dumps({'accuracy_after_sft': 0.3}))
"""
# What is asked of them, in a page of their own.
_CLAIM = """
from experiments.ablations import claims

_SWITCH = 'problem_sampler.curriculum_iteration'
_BOTH = claims.ACCURACY, 'curriculum', 'uniform'
CLAIM = claims.Claim(
  'Fig. 9', 'Do hard problems teach more?', 'Equal up to the switch.',
  (claims.Panel(claims.ACCURACY, mark=('curriculum', _SWITCH)),),
  (
    claims.Measure('accuracy up to the switch: curriculum minus uniform',
                   *_BOTH, 'mean', until=_SWITCH, expected='equal',
                   margin=0.03),
    claims.Measure('accuracy after the switch: curriculum minus uniform',
                   *_BOTH, 'mean', after=_SWITCH, expected='above'),
    claims.final('curriculum', 'uniform'),
  ),
  (
    claims.Check('share of groups without variance before the switch',
                 'rl/zero_variance_groups', 'uniform', 'final', until=_SWITCH,
                 least=0.6),
    claims.Check('reward of what is drawn as hard', 'rl/reward', 'curriculum',
                 after=_SWITCH, least=0.1, most=0.6),
  ),
)
OUTCOME = 'so it came out'
"""
ROOT = pathlib.Path(__file__).resolve().parents[3]
_STRATEGY = 'problem_sampler.strategy'
BOTH = tables.DOCS, tables.README
ARMS = {name: {_STRATEGY: name} for name in ('uniform', 'curriculum')}


@pytest.fixture
def place(tmp_path, monkeypatch):
  """A repository of two ablations, and a stand-in for k15.main."""
  (tmp_path / 'run.py').write_text(_RUN)
  (tmp_path / 'docs').mkdir()
  for table in BOTH:
    marks = f'# k15\n{table.start}\n{table.end}\n'
    (tmp_path / table.page).write_text(marks)
  folder = tmp_path / 'experiments/ablations'
  fake.write_file(folder / 'warm_up.py', {'all': {}}, seeds=3)
  fake.write_file(
    folder / 'curriculum.py', ARMS, problem_sampler__curriculum_iteration=3
  )
  text = (folder / 'curriculum.py').read_text()
  (folder / 'curriculum.py').write_text(
    text.replace(
      'sweeps.seeds(3)',
      "({'seed': s, 'checkpoint': f'runs/reproduce/warm_up/seed={s}'"
      " '/models/sft'}"
      ' for s in range(3))',
    )
    + _CLAIM
  )

  fake.stand_in(monkeypatch, tmp_path / 'run.py')
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_a_start_that_is_a_copy_goes_by_its_source(place):
  assert reproduce.main(['curriculum', '--root=elsewhere']) == 0
  start = place / 'elsewhere/warm_up/seed=2/unit.json'
  record = json.loads(start.read_text()) | dict(same_as='elsewhere/first/a')
  start.write_text(json.dumps(record))
  assert reproduce.main(['curriculum', '--root=elsewhere']) == 0
  saved = json.loads((place / 'docs/reproduce/curriculum.json').read_text())
  run = saved['arms']['curriculum']['2']
  assert run['begins_with'] == {'elsewhere/first/a': record['seconds']}


def test_a_figure_its_data_and_its_row(place, capsys):
  assert reproduce.main(['curriculum', '--root=elsewhere']) == 0
  printed = capsys.readouterr().out
  assert ' * accuracy after the switch: curriculum minus uniform: 0.051' in (
    printed
  )
  assert 'holds: all 2 intervals lie where they were expected' in printed
  png = place / 'docs/reproduce/curriculum.png'
  assert png.read_bytes().startswith(b'\x89PNG')
  page = (place / tables.DOCS.page).read_text()
  assert '| Fig. 9: [curriculum](reproduce/curriculum.md) | holds | ' in page
  page = png.with_suffix('.md').read_text()
  assert '## Verdict: holds' in page and ', 6 iterations, commits ' in page
  assert '| 0.800 ± 0.000 | at least 0.6 | met |' in page
  assert (place / 'README.md').read_text().splitlines()[4] == (
    '| [curriculum](docs/reproduce/curriculum.md), Fig. 9 | accuracy up to the'
    ' switch: curriculum minus uniform 0.0010 ± 0.0025 | holds |'
  )
  saved = json.loads(png.with_suffix('.json').read_text())
  assert saved['verdict'] == 'holds'
  assert saved['settings']['problem_sampler.curriculum_iteration'] == 3
  run = saved['arms']['curriculum']['2']
  assert run['overrides']['checkpoint'] == 'elsewhere/warm_up/seed=2/models/sft'
  assert list(run['begins_with']) == ['elsewhere/warm_up/seed=2']
  assert run['curves']['evaluation/accuracy'] == {
    'iteration': [1, 2, 3, 4, 5, 6],
    'value': [0.304, 0.354, 0.404, 0.504, 0.554, 0.604],
  }
  # Differences of 0.05 + seed / 1000: their mean is 0.051.
  (found,) = (m for w, m in saved['measures'].items() if 'after' in w)
  assert found['values'] == [0.05, 0.051, 0.052]
  assert (found['decides'], found['verdict']) == (True, 'holds')


def test_published_runs_are_judged_again(place):
  assert reproduce.main(['curriculum']) == 0
  pages = [place / table.page for table in BOTH]
  before = [page.read_text() for page in pages]
  shutil.rmtree(place / 'runs')
  assert reproduce.main(['curriculum', '--no-run']) == 0
  assert [page.read_text() for page in pages] == before


def test_pages_are_written_of_what_was_published_alone(place, capsys):
  assert reproduce.main(['curriculum', '--pages']) == 1
  assert reproduce.main(['curriculum']) == 0
  shutil.rmtree(place / 'runs')
  (place / 'experiments/ablations/curriculum.py').unlink()
  page = place / 'docs/reproduce/curriculum.md'
  pages = [page, *(place / table.page for table in BOTH)]
  before = [page.read_text() for page in pages]
  page.unlink()
  assert reproduce.main(['curriculum', '--no-run']) == 1
  assert reproduce.main(['curriculum', '--pages']) == 0
  assert [page.read_text() for page in pages] == before
  capsys.readouterr()
  assert reproduce.main(['--cost']) == 0
  _, row, total, _ = capsys.readouterr().out.splitlines()
  assert row.split()[:3] == ['curriculum', '6', '0']
  assert total.split()[:3] == ['all', '6', '0']


def test_a_check_that_fails_says_that_the_question_is_not_posed(place):
  (place / 'runs/reproduce/curriculum').mkdir(parents=True)
  (place / 'runs/reproduce/curriculum/vary').touch()
  assert reproduce.main(['curriculum']) == 0
  row = (
    '| share of groups without variance before the switch: 0.300 ± 0.000,'
    ' at least 0.6: fails | not posed here |'
  )
  assert row in (place / 'README.md').read_text()
  text = (place / 'docs/reproduce/curriculum.json').read_text()
  measures = json.loads(text)['measures'].values()
  # They keep their own.
  assert [m.get('verdict') for m in measures] == ['holds', 'holds', None]


def test_a_failed_unit_leaves_docs_alone(place, capsys):
  (place / 'runs/reproduce/curriculum').mkdir(parents=True)
  breaks = place / 'runs/reproduce/curriculum/breaks'
  breaks.touch()
  assert reproduce.main(['curriculum']) == 1
  page = place / tables.DOCS.page
  assert list((place / 'docs').iterdir()) == [page]
  assert 'curriculum' not in page.read_text()
  assert reproduce.main(['curriculum', '--no-run']) == 1
  assert '2 of 6 units are missing' in capsys.readouterr().out
  assert (place / 'runs/reproduce/curriculum/preview.png').exists()
  breaks.unlink()
  assert reproduce.main(['curriculum']) == 0
  records = [
    json.loads(path.read_text())
    for path in sorted(place.glob('runs/reproduce/curriculum/*/unit.json'))
  ]
  assert [record['attempts'] for record in records] == [1, 1, 2, 1, 1, 2]


def test_mistakes_are_one_sentence(place, capsys):
  assert reproduce.main(['curiculum']) == 2
  assert 'no claim curiculum; there are context_length' in (
    capsys.readouterr().err
  )
  assert reproduce.main(['tau', '--no-run']) == 1
  assert "reproduce: tau: --config: no file 'exp" in capsys.readouterr().err
  assert reproduce.main(['curriculum', '--no-run']) == 1
  assert 'curriculum: no unit is done' in capsys.readouterr().err


def _page(name):
  return runpy.run_path(f'experiments/ablations/{name}.py')


def test_every_page_with_arms_is_a_figure():
  folder = pathlib.Path('experiments/ablations')
  pages = {path.stem for path in folder.glob('*.py')}
  assert {p for p in pages if 'ARMS' in _page(p)} == set(claims.FIGURES)
  assert len(claims.FIGURES) == 18


@pytest.mark.parametrize('name', claims.FIGURES)
def test_claims_ask_what_can_be_judged(name):
  page = _page(name)
  claim = page['CLAIM']
  # It is written after the runs, unless those that are published were asked
  # something else.
  content = files.read_json(ROOT / published.path_of(name))
  is_answered = bool(content) and 'asked_anew' not in content
  assert claim.panels and bool(page['OUTCOME']) >= is_answered
  names = [m.what for m in (*claim.measures, *claim.checks)]
  assert claim.measures and len(set(names)) == len(names)
  for measure in claim.measures:
    needs = measure.expected in ('equal', 'not_below', 'not_above')
    assert (measure.margin > 0) == needs
  for check in claim.checks:
    assert (check.least, check.most) != (None, None)


@pytest.mark.parametrize('name', claims.FIGURES)
def test_claims_name_arms_of_their_ablations(name):
  page = _page(name)
  claim, table = page['CLAIM'], page['ARMS']
  units = sweep.units(f'experiments/ablations/{name}.py:cpu')
  assert {data.arm_of(unit, table) for unit in units} == set(table)
  used = {m.arm for m in claim.measures} | {m.against for m in claim.measures}
  used |= {panel.mark[0] for panel in claim.panels if panel.mark}
  used |= {check.arm for check in claim.checks}
  assert used - {claims.FIRST, claims.LAST, claims.EACH, ''} <= set(table)
