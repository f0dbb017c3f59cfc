"""How pages are imported: modules, not names, and no work at import."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ('k15', 'experiments', 'launch')
DEVICE_WORK = (
  'jnp.', 'jax.numpy.', 'jax.random.', 'jax.device', 'jax.local_device',
  'jax.make_mesh', 'jax.lax.', 'jax.nn.',
)  # fmt: skip
PAGES = [
  path.relative_to(ROOT)
  for top in OURS
  for path in sorted((ROOT / top).rglob('*.py'))
  if not path.name.endswith('_pb2.py')
]
TREES = {page: ast.parse((ROOT / page).read_text()) for page in PAGES}


def _imports(tree):
  """(node, dotted name) of everything a tree imports."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((node, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno}: a relative import'
      yield from ((node, f'{node.module}.{a.name}') for a in node.names)


def _at_import(node):
  """Every node that runs when the page is imported."""
  for child in ast.iter_child_nodes(node):
    if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
      defaults = [*child.args.defaults, *child.args.kw_defaults]
      for part in [*defaults, *getattr(child, 'decorator_list', [])]:
        if part is not None:
          yield part
          yield from _at_import(part)
    else:
      yield child
      yield from _at_import(child)


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_modules_are_imported_not_names_except_types(page):
  for node, name in _imports(TREES[page]):
    if name.split('.')[0] not in OURS or isinstance(node, ast.Import):
      continue
    path = ROOT.joinpath(*name.split('.'))
    is_module = path.is_dir() or path.with_suffix('.py').is_file()
    is_type = name.rpartition('.')[2][0].isupper()
    assert is_module or is_type, f'{page}:{node.lineno} imports {name}'


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_no_device_work_while_importing(page):
  for node in _at_import(TREES[page]):
    if isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      assert called == 'jnp.dtype' or not called.startswith(DEVICE_WORK), (
        f'{page}:{node.lineno} calls {called} when imported'
      )


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_no_flags_while_importing(page):
  # Two commands whose flags have one name could not be imported together.
  for node in _at_import(TREES[page]):
    assert not (isinstance(node, ast.Attribute) and 'DEFINE_' in node.attr), (
      f'{page}:{node.lineno} defines a flag when imported'
    )


def test_the_walk_sees_what_runs_at_import():
  tree = ast.parse(
    'a = jnp.a()\n'
    'def f(x=jnp.b()):\n  jnp.hidden()\n'
    'class C:\n  y: int = jnp.c()\n  def g(self): jnp.hidden()\n'
    'h = lambda z=jnp.d(): jnp.hidden()\n'
    '@jnp.e()\ndef i(): pass\n'
    'if x:\n  jnp.f()\n'
  )
  calls = [n for n in _at_import(tree) if isinstance(n, ast.Call)]
  assert sorted(ast.unparse(n.func) for n in calls) == [
    f'jnp.{letter}' for letter in 'abcdef'
  ]
