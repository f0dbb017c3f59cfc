"""README and docs: short enough to be read, and their links lead somewhere."""

import pathlib
import re
import runpy

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
PAGES = [
  ROOT / 'README.md',
  ROOT / 'CONTRIBUTING.md',
  ROOT / 'CHANGELOG.md',
  *DOCS,
]


def test_the_readme_is_one_to_two_screens_more_than_its_first():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 220


def test_the_reading_path_is_as_long_as_it_says():
  text = (ROOT / 'README.md').read_text()
  rows = re.findall(r'^\| `(\S+\.py)` \| (\d+) \|', text, re.MULTILINE)
  total = sum(int(lines) for _, lines in rows)
  assert f'in {total:,} lines' in text
  assert total <= 1500
  for name, lines in rows:
    if (ROOT / name).exists():
      found = len((ROOT / name).read_text().splitlines())
      # A page may grow by a few lines without a new README.
      assert abs(found - int(lines)) <= found / 10, name


def test_the_map_is_that_of_these_rooms():
  made = runpy.run_path(str(ROOT / 'docs' / 'map.py'))['to_markdown'](ROOT)
  said = (ROOT / 'docs' / 'map.md').read_text()
  assert said == made, 'python docs/map.py writes it anew'


@pytest.mark.parametrize('page', DOCS, ids=lambda page: page.name)
def test_a_page_of_docs_is_read_in_one_sitting(page):
  if page.name != 'map.md':  # It is looked up, not read.
    assert 60 <= len(page.read_text().splitlines()) <= 180


def test_the_readme_has_every_room():
  text = (ROOT / 'README.md').read_text()
  rooms = {path.parent.name for path in (ROOT / 'k15').glob('*/__init__.py')}
  assert {room for room in rooms if f'| `k15/{room}/` |' not in text} == set()


@pytest.mark.parametrize('page', DOCS, ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page):
  assert f'(docs/{page.name}' in (ROOT / 'README.md').read_text()


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
  for link in re.findall(r'\]\(([^)]+)\)', page.read_text()):
    if '://' in link:
      continue
    path, _, heading = link.partition('#')
    target = page.parent / path if path else page
    assert target.exists(), link
    assert not heading or heading in _anchors(target), link


def _anchors(page):
  """Of headings, as GitHub makes them."""
  text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
  titles = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
  plain = [re.sub(r'[^\w\- ]', '', title.lower()) for title in titles]
  return [title.replace(' ', '-') for title in plain]
