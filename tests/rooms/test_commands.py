"""No command rots: what README, docs, experiments and the Makefile name runs.

`commands.SHORT` has a short form of each, which runs here or in another test;
those of README and docs with a config are read as they stand there, with all
checks, in a folder that has the files they name.
"""

import importlib.util
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys

import commands
import forked
import pytest
import small_checkpoint
import small_geometry
from absl import flags
from ml_collections import config_flags

from benchmarks.quality import public_data
from k15.config import checks
from k15.config import command_line
from k15.data import arithmetic

ROOT = commands.ROOT
NAMED = commands.named()
RUN = {name: row for name, row in commands.SHORT.items() if type(row) is tuple}
CONFIGURED = [
  line
  for name, lines in NAMED.items()
  for line in lines
  if name.startswith(('k15.main ', 'k15.serve')) and '--config=...' not in line
]


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  """The project's folder as a user's: with the files that commands name."""
  folder = tmp_path_factory.mktemp('user')
  for name in ('experiments', 'launch', 'docs'):
    (folder / name).symlink_to(ROOT / name)
  for name in (
    'Qwen2.5-7B-Instruct', 'Qwen2.5-7B', 'runs/tiny', 'runs/recipe',
    'runs/seed0/models/rl', 'runs/seed0_short/models/shortest',
  ):  # fmt: skip
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    small_checkpoint.write(folder / name)
  small_geometry.write(folder / 'Qwen2.5-VL-7B-Instruct')
  for name in ('train', 'test'):
    small_geometry.write_problems(folder / f'geometry3k/{name}.parquet')
  (folder / 'gsm8k').mkdir()
  (folder / 'math').mkdir()
  for name in ('train', 'test'):
    _jsonl(folder / f'gsm8k/{name}.jsonl', 24, _gsm8k(name))
  for name in ('math_train.json', 'math/train.json'):
    small_checkpoint.write_problems(folder / name)
  small_checkpoint.write_problems(folder / 'math500.json', first=100)
  for name in ('mixed', 'measured', 'math500', 'problems', 'own'):
    _jsonl(folder / f'{name}.jsonl', 24, _problem(name))
  for name in (
    'general.jsonl', 'cold_start.jsonl', 'codeforces.jsonl',
    'runs/gsm8k.jsonl', 'code.parquet',
  ):  # fmt: skip
    _jsonl(folder / name, 24, _problem(name))
  _jsonl(folder / 'mbpp.jsonl', 4, _mbpp)
  return folder


def _jsonl(path, count, row):
  path.write_text(''.join(json.dumps(row(i)) + '\n' for i in range(count)))


def _gsm8k(name):
  first = {'train': 0, 'test': 100}[name]
  return lambda i: dict(
    question=f'What is {i + first} plus 1?',
    answer=f'One more.\n#### {i + first + 1}',
  )


def _problem(name):
  return lambda i: dict(
    prompt=f'{name}: {i} + 1', answer=str(i + 1), response=f'#### {i + 1}'
  )


def _mbpp(i):
  return dict(
    task_id=i,
    text='Add one.',
    code='def f(x):\n  return x + 1',
    test_list=[f'assert f({i}) == {i + 1}'],
    test_setup_code='',
  )


def test_each_command_has_a_row_and_each_row_a_command():
  assert sorted(NAMED) == sorted(commands.SHORT)


def test_rows_name_tests_and_rows_that_exist():
  for row in commands.SHORT.values():
    if type(row) is tuple or row in commands.SHORT:
      continue
    page, _, name = row.partition('::')
    text = (ROOT / page).read_text()
    assert f'\ndef {name}' in text, row


@pytest.mark.parametrize('name', sorted(RUN))
def test_a_short_form_runs(name, folder, tmp_path):
  if name == 'k15.main code.py':
    pytest.importorskip('resource')
  # A folder of its own, for what a command leaves.
  for path in folder.iterdir():
    (tmp_path / path.name).symlink_to(path)
  environment = dict(JAX_PLATFORMS='cpu', PYTHONPATH=str(ROOT))
  result = forked.run(RUN[name], tmp_path, tmp_path / 'printed', environment)
  out = result.stdout[-1500:] + result.stderr[-3000:]
  assert result.returncode == 0, out
  first = (result.stderr or result.stdout).splitlines()[0]
  assert 'libtpu' not in first.lower(), out


def _python(arguments, folder):
  environment = os.environ | dict(JAX_PLATFORMS='cpu', PYTHONPATH=str(ROOT))
  return subprocess.run(
    [sys.executable, *arguments],
    cwd=folder,
    env=environment,
    capture_output=True,
    text=True,
    timeout=3600,  # A hang; how long it takes is no matter here.
  )


@pytest.mark.parametrize('line', CONFIGURED)
def test_a_config_is_read_as_it_stands(line, folder, monkeypatch):
  """By the flags of `k15.main` and all checks of `checks.validate`."""
  monkeypatch.chdir(folder)
  words = shlex.split(line, comments=True)
  words = [w for w in words if w.startswith('--config')]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values)
  monkeypatch.setattr(sys, 'argv', ['k15', *words])
  command_line.parse_flags(sys.argv, values)
  config = values.config
  if config.mesh.num_processes == 1:
    m = config.mesh
    sizes = (m.data, m.fsdp, m.tensor, m.context)
    devices = abs(math.prod(sizes))
    checks.validate(config, devices, arithmetic.KINDS)


@pytest.mark.skipif(not shutil.which('make'), reason='no make here')
@pytest.mark.parametrize('target', commands.targets())
def test_targets_of_the_makefile(target):
  """`make -n` names commands, and each `-m` of them is a page."""
  result = subprocess.run(
    ['make', '-n', target, 'ARGS='], cwd=ROOT, capture_output=True, text=True
  )
  assert result.returncode == 0, result.stderr
  text = result.stdout.replace('\\\n', ' ')
  modules = re.findall(r'-m ((?:k15|benchmarks|launch)[\w.]*)', text)
  for module in modules:
    path = ROOT / module.replace('.', '/')
    assert path.with_suffix('.py').exists() or (path / '__main__.py').exists()


def test_extras_that_are_named_exist():
  extras = re.search(
    r'extras_require=\{(.*?)\n  \}', (ROOT / 'setup.py').read_text(), re.DOTALL
  )[1]
  known = re.findall(r"^    '(\w+)': \[", extras, re.MULTILINE)
  pages = [ROOT / 'README.md', ROOT / 'third_party/README.md']
  for page in [*pages, *(ROOT / 'docs').glob('*.md')]:
    for named in re.findall(r"'\.\[([a-z]+)\]'", page.read_text()):
      assert named in known, named


def test_jax_starts_without_a_word():
  """In the environment of the Makefile, whatever a test run left there."""
  # Without what tests set, or libtpu once it was loaded.
  ours = ('JAX_', 'TPU_', 'LIBTPU_', 'PYTHONPATH')
  environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
  result = subprocess.run(
    [sys.executable, '-c', 'import jax; jax.devices()'],
    env=environment,
    capture_output=True,
    text=True,
  )
  assert (result.stdout, result.stderr) == ('', '')


@pytest.mark.parametrize(
  'name, arguments',
  [
    ('quality.verifiers', ['--repeats=1', '--every=500']),
    ('quality.code_sets', ['--every=200']),
    ('quality.test_cases', ['--help']),
    ('quality.curation', ['--help']),
  ],
)
def test_benchmarks_on_public_data(name, arguments):
  if not public_data.folder().is_dir():
    pytest.skip(f'no {public_data.folder()}: ${public_data.VARIABLE} names it')
  result = _python(['-m', f'benchmarks.{name}', *arguments], ROOT)
  assert result.returncode == 0, result.stdout[-1000:] + result.stderr[-2000:]


def test_benchmarks_that_run_together_exist():
  text = (ROOT / 'Makefile').read_text().replace('\\\n', ' ')
  rows = re.findall(r'-m benchmarks\.together (.*)', text)
  names = [name for row in rows for name in row.split()]
  assert len(names) == 8
  for name in names:
    assert importlib.util.find_spec(f'benchmarks.{name}'), name
