"""When the plan is asked, with what, and what its answer means."""

import pathlib
import subprocess
import sys

import launched

from k15.config import keys
from launch.cloud import plan_verdict
from launch.cloud import works as works_lib
from launch.units import sweep

ROOT = pathlib.Path('/repo')


def _works(*overrides):
  works = []
  for i, override in enumerate(overrides):
    settings = keys.leaves(sweep.load_config(launched.CONFIG, override))
    unit = sweep.Unit(f'u{i}', override)
    works.append(
      works_lib.make_work(launched.CLOUD, launched.CONFIG, unit, settings)
    )
  return works


def _ask(monkeypatch, works, missing=(), **options):
  commands = []

  def run(command, **_):
    commands.append(command)
    return subprocess.CompletedProcess(command, 1, 'too much\n')

  found = lambda name: None if name in missing else name  # noqa: E731
  monkeypatch.setattr(plan_verdict.importlib.util, 'find_spec', found)
  monkeypatch.setattr(plan_verdict.subprocess, 'run', run)
  return list(plan_verdict.ask(works, 'v5p:4x4x4', ROOT, **options)), commands


def test_once_for_units_with_the_same_programs(monkeypatch):
  works = _works(
    {'seed': 0, 'loss.tau': 0.1},
    {'seed': 1, 'optimizer.learning_rate': 1e-6},
    {'seed': 0, 'optimizer.micro_batch_rows': 128},
    {'rollout.num_slots': 64, 'loss.method': 'grpo'},
  )
  found, commands = _ask(monkeypatch, works)
  assert [v.names for v in found] == [('u0', 'u1'), ('u2',), ('u3',)]
  assert [v.code for v in found] == [1, 1, 1]
  assert found[0].text == 'too much'
  base = [
    sys.executable, '-m', 'launch.plan', f'--config={launched.CONFIG}',
    '--topology=v5p:4x4x4', '--quick', '--nosearch',
  ]  # fmt: skip
  assert commands[0] == base
  assert set(commands[2]) - set(base) == {
    '--config.rollout.num_slots=64', '--config.loss.method=grpo',
  }  # fmt: skip


def test_without_jax_that_is_said(monkeypatch):
  works = _works({'seed': 0}, {'seed': 1})
  [found], commands = _ask(monkeypatch, works, missing=('jax', 'libtpu'))
  assert (found.code, commands) == (None, [])
  assert found.text == (
    "not planned: jax and libtpu not installed here: pip install 'k15[plan]'"
  )


def test_a_checkpoint_in_the_bucket_is_not_read(monkeypatch):
  works = _works({'checkpoint': 'gs://b-1/qwen'})
  [found], [command] = _ask(monkeypatch, works)
  assert '--config.checkpoint=' in command
  assert found.text.startswith('gs://b-1/qwen is not read from here')
  [found], [command] = _ask(monkeypatch, works, checkpoint='/here')
  assert '--config.checkpoint=/here' in command
  assert found.text == 'too much'
