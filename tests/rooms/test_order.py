"""The order of the rooms: a page imports its own room and those before it."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORDER = (
  'config', 'files', 'quiet_imports', 'streams', 'data_types', 'equations',
  'rewards', 'vision', 'report', 'data', 'curation', 'devices', 'model',
  'checkpoints',
  'training', 'rollout', 'serving', 'generation', 'runtime', 'stages',
  'recipe', 'serve', 'serve_reward', 'main', 'doctor', 'cli',
)  # fmt: skip
# Where a name starts with the first, none starts with the second.
NEVER = (
  ('k15.config', 'jax'), ('k15.report', 'jax'), ('k15.rewards', 'jax'),
  ('k15.curation', 'jax'), ('k15.equations', 'ml_collections'),
  ('k15.stages', 'k15.serving'), ('k15.rollout', 'k15.serving'),
  ('k15', 'experiments'), ('k15', 'launch'), ('experiments', 'k15'),
)  # fmt: skip
MOST_IMPORTS = 12  # of our own in one page
PAGES = sorted(
  path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')
  for folder in ('k15', 'launch', 'experiments')
  for path in (ROOT / folder).rglob('*.py')
  if not path.name.endswith(('_pb2.py', '__init__.py'))
)


def imported(page):
  """Modules that a page imports, at its top or anywhere in it."""
  text = (ROOT / f'{page.replace(".", "/")}.py').read_text()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      full = [f'{node.module}.{alias.name}' for alias in node.names]
      yield from (n if n in PAGES else node.module for n in full)


@pytest.mark.parametrize('page', PAGES)
def test_imports_go_one_way(page):
  names = set(imported(page))
  ours = {name for name in names if name in PAGES}
  assert len(ours) <= MOST_IMPORTS, sorted(ours)
  if page.startswith('k15.'):
    place = ORDER.index(page.split('.')[1])
    later = [n for n in ours if ORDER.index(n.split('.')[1]) > place]
    assert not later, f'{page} imports what comes after it'
  for ours, theirs in NEVER:
    if f'{page}.'.startswith(f'{ours}.'):
      assert not [n for n in names if f'{n}.'.startswith(f'{theirs}.')]


def test_what_is_sent_into_the_sandbox_needs_nothing_else():
  room = 'k15.rewards.sandbox.inside'
  for page in (p for p in PAGES if p.startswith(room)):
    ours = [n for n in imported(page) if n.startswith('k15')]
    assert all(n.startswith(room) for n in ours), page
