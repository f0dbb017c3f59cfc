"""Writes docs/map.md, the rooms and their pages: `python docs/map.py`.

A room says its sentence in its `__init__`, a page in the first line of its
docstring; both are read here, and nowhere written twice.
"""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOPS = ('k15', 'experiments', 'launch', 'benchmarks')


def to_markdown(root: pathlib.Path) -> str:
  """The map of a checkout: a section a room, a line a page."""
  parts = ['# Map', 'Made by `python docs/map.py`; do not edit.']
  for top in TOPS:
    for room in sorted(p.parent for p in (root / top).rglob('__init__.py')):
      pages = sorted(p for p in room.glob('*.py') if p.stem != '__init__')
      if pages:
        parts += _section(room.relative_to(root).as_posix(), room, pages)
  return '\n\n'.join(parts) + '\n'


def _section(name, room, pages):
  rows = [f'- [{p.stem}](../{name}/{p.name}) {_first(p)}' for p in pages]
  return [f'## {name}/', _docstring(room / '__init__.py'), '\n'.join(rows)]


def _docstring(page):
  return ast.get_docstring(ast.parse(page.read_text())) or ''


def _first(page):
  return _docstring(page).split('\n')[0]


if __name__ == '__main__':
  (ROOT / 'docs' / 'map.md').write_text(to_markdown(ROOT))
