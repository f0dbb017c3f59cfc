"""Configs are read and units launched where there is no jax."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of `launch.plan`, what a table of chips and slices does not need.
WITH_JAX = (
  'cache', 'programs', 'table', 'times', 'topologies', 'costs', 'hlo',
)  # fmt: skip
WITH_XMANAGER = ('xm', 'processes', 'vertex')


@pytest.fixture
def without_jax(tmp_path):
  """An environment in which importing jax is an error."""
  for name in ('jax', 'jaxlib', 'flax'):
    (tmp_path / f'{name}.py').write_text(f'raise ImportError("{name}")')
  path = [str(tmp_path), str(ROOT), os.environ.get('PYTHONPATH', '')]
  return os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, path))}


def _run(env, *command):
  return subprocess.run(
    [sys.executable, *command], cwd=ROOT, env=env, capture_output=True,
    text=True,
  )  # fmt: skip


def test_pages_import_without_jax(without_jax):
  pages = []
  for folder in ('experiments', 'launch'):
    for path in (ROOT / folder).rglob('*.py'):
      name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
      last = name.rpartition('.')[2]
      if folder == 'launch' and (
        last in WITH_JAX or name == 'launch.plan.__main__'
      ):
        continue
      if last in WITH_XMANAGER and not importlib.util.find_spec('xmanager'):
        continue
      pages.append(name)
  assert 'launch.cloud.gke' in pages and 'experiments.pod' in pages
  text = '; '.join(f'import {page}' for page in pages if '-' not in page)
  text += '; import sys; ours = {m for m in sys.modules if m[:4] == "k15."}'
  text += '; ours = {m for m in ours if m[:11] != "k15.config."}'
  text += '; assert ours == {"k15.config"}, ours'
  result = _run(without_jax, '-c', text)
  assert result.returncode == 0, result.stderr


def test_units_are_listed_checked_and_written_without_jax(without_jax):
  text = (
    'from tests.support import launched;'
    ' from launch.cloud import checks, gke, kubernetes;'
    ' [kubernetes.check(m) for m in gke.manifests(launched.CLOUD,'
    ' launched.make_work())];'
    ' assert not checks.refusals(launched.CLOUD, "gke", launched.CONFIG,'
    ' {"a": launched.settings()}, __import__("pathlib").Path("."))'
  )
  result = _run(without_jax, '-c', text)
  assert result.returncode == 0, result.stderr
