"""The site is built without a warning, from the pages as they are."""

import pathlib
import runpy
import types

import pytest

pytest.importorskip('mkdocs', reason="it comes with the extra 'docs'")
pytest.importorskip('material', reason="it comes with the extra 'docs'")

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = runpy.run_path(str(ROOT / 'docs' / 'website.py'))


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """Built strictly: a link that leads nowhere would have raised."""
  out = tmp_path_factory.mktemp('site')
  PAGE['make'](out)
  return out


def test_every_page_is_there_and_led_to(site):
  front = (site / 'index.html').read_text()
  for page in (ROOT / 'docs').glob('*.md'):
    assert (site / f'{page.stem}.html').exists()
    assert page.stem == 'index' or f'href="{page.stem}.html"' in front
  for name in ('readme', 'contributing', 'changelog', 'third_party'):
    assert (site / f'{name}.html').exists()


def test_links_to_code_lead_to_code(site):
  text = (site / 'vision.html').read_text() + (site / 'map.html').read_text()
  assert 'href="code/k15/main.py.txt"' in text
  made = (site / 'code/k15/main.py.txt').read_text()
  assert made == (ROOT / 'k15/main.py').read_text()


def test_nothing_is_fetched_to_show_a_page(site):
  for page in site.glob('*.html'):
    text = page.read_text()
    for start in ('<script src="http', '<link rel="stylesheet" href="http'):
      assert start not in text, page.name


def test_links_are_put_right_by_where_a_page_lies():
  def moved(page, text):
    file = types.SimpleNamespace(
      abs_src_path=str(ROOT / page), src_uri=page.removeprefix('docs/')
    )
    return PAGE['on_page_markdown'](
      text, types.SimpleNamespace(file=file), None, None
    )

  assert (
    moved('docs/r1.md', '[a](../README.md#rooms)') == '[a](readme.md#rooms)'
  )
  assert moved('docs/r1.md', '[a](losses.md#b)') == '[a](losses.md#b)'
  nested = moved('docs/reproduce/tau.md', '[a](../../setup.py)')
  assert nested == '[a](../code/setup.py.txt)'
  assert moved('docs/r1.md', '[a](https://b/../c)') == '[a](https://b/../c)'
  assert moved('docs/r1.md', '[a](../none.py)') == '[a](../none.py)'
