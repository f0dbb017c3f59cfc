"""The table of extras is that of setup.py, and sentences name the right one."""

import importlib.util
import pathlib
import re

import setuptools

from k15.config import extras

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _of_setup(monkeypatch):
  """Extra -> names of the packages that it asks for."""
  told = {}
  monkeypatch.setattr(
    setuptools, 'setup', lambda **options: told.update(options)
  )
  monkeypatch.chdir(ROOT)
  spec = importlib.util.spec_from_file_location('setup', ROOT / 'setup.py')
  spec.loader.exec_module(importlib.util.module_from_spec(spec))
  return {
    name: {re.match(r'[\w-]+', line)[0].lower() for line in lines}
    for name, lines in told['extras_require'].items()
  }


def test_the_table_is_that_of_setup(monkeypatch):
  asked = _of_setup(monkeypatch)
  rows = {extra.name: extra for extra in extras.EXTRAS}
  assert len(rows) == len(extras.EXTRAS)
  # What its tests need is no use of k15.
  assert set(rows) == set(asked) - {'test'}
  # Brought by another of the same extra, or by jax's own extra.
  brought = {'xeger', 'pydantic', 'mkdocs', 'jax-cuda12-plugin', 'libtpu'}
  for name, extra in rows.items():
    found = set(extra.packages.values()) - brought
    others = asked['workers'] | asked['sandbox'] | asked['http']
    assert found <= asked[name] | others, name


def test_a_sentence_names_package_extra_and_target():
  assert extras.sentence('a.gguf: a GGUF file', 'gguf') == (
    'a.gguf: a GGUF file needs gguf, which is not installed: pip install'
    " 'k15[gguf]', or make extras in a clone"
  )
  # grpcio is in two: the one that is meant is named.
  assert "'k15[workers]'" in extras.sentence('it', 'grpc')
  assert "'k15[serve]'" in extras.sentence('it', 'grpc', 'serve')
  assert extras.sentence('it', 'skimage').endswith("'k15[images]'")


def test_only_modules_of_extras_are_explained():
  error = ModuleNotFoundError('No module', name='starlette.routing')
  assert "'k15[sandbox]'" in str(extras.explain('it', error))
  assert extras.explain('it', error).name == 'starlette'
  for name in ('mine', None):
    other = ModuleNotFoundError('No module', name=name)
    assert extras.explain('it', other) is other


def test_what_is_absent_is_named_as_it_is_installed():
  extra = extras.Extra('x', '', {'json': 'json', 'not_there': 'not-there'})
  assert extras.absent(extra) == ['not-there']
