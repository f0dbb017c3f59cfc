"""The wheel: a trainer from an empty folder, without what only some need."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What `python -m build --no-isolation` does: first the one, and of that, where
# it is unpacked, the other.
BUILDS = """
from setuptools import build_meta
print()
print(getattr(build_meta, {name!r})({folder!r}))
"""
# No network is needed to build, nor any of these to train in one process.
ABSENT = (
  'jetstream', 'grpc', 'shortuuid', 'starlette', 'uvicorn', 'cyaron', 'xeger',
  'pyarrow', 'huggingface_hub',
)  # fmt: skip
# Python imports it before all else, and so in every process that is started.
HIDES = f"""
import sys

class Absent:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in {ABSENT}:
      raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """A folder as of site-packages, with k15 alone in it."""
  source = tmp_path_factory.mktemp('source')
  for name in ('k15', 'experiments', 'launch', 'benchmarks', 'tests'):
    shutil.copytree(
      ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__')
    )
  for name in ('setup.py', 'pyproject.toml'):
    shutil.copy(ROOT / name, source / name)
  archive = build('build_sdist', source)
  shutil.unpack_archive(archive, source / 'unpacked')
  (unpacked,) = (source / 'unpacked').iterdir()
  wheel = build('build_wheel', unpacked)
  folder = tmp_path_factory.mktemp('installed')
  with zipfile.ZipFile(wheel) as file:
    file.extractall(folder)
  (folder / 'sitecustomize.py').write_text(HIDES)
  return folder


def build(name, folder):
  """Calls the backend that pyproject.toml names; the file it made."""
  done = subprocess.run(
    [sys.executable, '-c', BUILDS.format(name=name, folder='made')],
    cwd=folder,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return folder / 'made' / done.stdout.split()[-1]


@pytest.fixture
def run(installed, tmp_path):
  """Runs a module in an empty folder."""

  def run(*arguments):
    return subprocess.run(
      [sys.executable, '-m', *arguments],
      capture_output=True,
      text=True,
      env=os.environ | {'PYTHONPATH': str(installed), 'JAX_PLATFORMS': 'cpu'},
      cwd=tmp_path,
    )

  return run


SMOKE = (
  'k15.cli', 'run', '--config=experiments/arithmetic.py:smoke', '--workdir=run',
)  # fmt: skip


def files_of(root, folder):
  paths = (root / folder).rglob('*.*')
  return {p.relative_to(root) for p in paths if p.suffix != '.pyc'}


def test_it_has_what_runs_and_nothing_else(installed):
  names = {path.name for path in installed.iterdir()}
  assert names - {'sitecustomize.py'} == {
    'k15', 'experiments', 'launch', 'k15-0.1.0.dist-info',
  }  # fmt: skip
  entries = installed / 'k15-0.1.0.dist-info/entry_points.txt'
  assert entries.read_text().split('\n')[1] == 'k15 = k15.cli:main'
  for folder in ('k15', 'experiments', 'launch'):
    assert files_of(installed, folder) == files_of(ROOT, folder)


def test_it_trains_where_only_the_trainer_is_installed(run, tmp_path):
  # A budget that finishes every response: each iteration has its updates.
  done = run(
    *SMOKE, '--config.rl.iterations=2', '--config.rollout.token_budget=64'
  )
  assert done.returncode == 0, done.stdout + done.stderr
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  rows = [row for row in map(json.loads, lines) if row['stage'] == 'rl']
  assert len([row for row in rows if 'rl/reward' in row]) == 2


def test_what_is_missing_is_said_in_a_sentence(run, tmp_path):
  done = run(*SMOKE, "--config.rollout.workers=('local',)")
  assert done.returncode == 2 and done.stderr.count('\n') == 1
  assert 'needs grpcio, which is not installed' in done.stderr
  assert "pip install 'k15[workers]'" in done.stderr
  (tmp_path / 'a.parquet').write_text('')
  done = run(
    *SMOKE, '--config.task.name=file', '--config.task.train_path=a.parquet'
  )
  assert done.returncode == 2
  assert "pip install 'k15[parquet]'" in done.stderr.splitlines()[-1]
  done = run('k15.rewards.service', '--help')
  assert "pip install 'k15[sandbox]'" in done.stderr.splitlines()[-1]
  done = run('k15.cli', 'serve', '--help')
  assert done.returncode == 2 and done.stderr.count('\n') == 1
  assert "k15: a rollout worker needs" in done.stderr
  assert "pip install 'k15[serve]'" in done.stderr


def test_the_doctor_finds_that_runs_start_and_what_is_missing(run):
  done = run('k15.cli', 'doctor')
  assert done.returncode == 0, done.stdout + done.stderr
  lines = done.stdout.splitlines()
  assert lines[-1] == 'k15: runs start here'
  assert [line for line in lines if line.startswith('--  k15[workers]')]
  assert "pip install 'k15[workers]'" in done.stdout
