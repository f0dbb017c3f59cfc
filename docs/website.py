"""Builds docs/ as a site: `make docs`, or `python docs/website.py [--out=DIR]`.

The pages stay as GitHub shows them: what they link to outside docs/, pages of
code among it, becomes part of the site, so that every link is one that mkdocs
checks.  A link that leads nowhere, a heading that is not there, and anything
else that mkdocs complains of ends the build.  Nothing is fetched, neither here
nor by who reads the site, but the pictures of a page.
"""

import argparse
import logging
import pathlib
import posixpath
import re
import sys
from typing import Any

from mkdocs import exceptions
from mkdocs.commands import build
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure import files as files_lib

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
# Pages that lie outside docs/ because tools look for them there.
OUTSIDE = {
  name: f'{name.lower()}'
  for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')
}
OUTSIDE['third_party/README.md'] = 'third_party.md'
# What the site leads through; other pages are led to by these.
NAVIGATION = (
  ('Begin', ('index', 'install', 'running', 'report', 'log')),
  ('Recipe', ('recipe', 'problems', 'rewards', 'reward_models', 'losses', 'r1',
              'pretraining', 'evaluation')),
  ('Pictures', ('vision', 'vision_learning', 'vision_data')),
  ('Models and machines', ('checkpoints', 'hub', 'serving', 'openai', 'devices',
                            'launch')),
  ('Measured', ('reproduction', 'worlds', 'benchmarks')),
  ('Code', ('readme', 'contributing', 'map', 'changelog', 'third_party')),
)  # fmt: skip
# Whose own first line is the project's name.
TITLES = dict(index='Overview', readme='README')
_LINK = re.compile(r'(\]\()([^)\s#]+)(#[^)]*)?(\))')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--out', default=str(ROOT / '.cache' / 'site'))
  out = parser.parse_args().out
  logging.basicConfig(level=logging.WARNING, format='%(message)s')
  try:
    make(pathlib.Path(out))
  except exceptions.Abort as error:
    sys.exit(f'docs: {error.message}')
  print(f'{out}/index.html')


def make(out: pathlib.Path) -> None:
  """Builds the site into a folder, which is emptied first.

  Raises:
    mkdocs.exceptions.Abort: mkdocs complains of anything.
  """
  build.build(settings(out))


def settings(out: pathlib.Path) -> MkDocsConfig:
  """What mkdocs is told, without a file of settings."""
  config = MkDocsConfig(config_file_path=str(ROOT / 'none'))
  links = dict.fromkeys(
    ('not_found', 'anchors', 'absolute_links', 'unrecognized_links'), 'warn'
  )
  config.load_dict(
    dict(
      site_name='k15',
      docs_dir=str(DOCS),
      site_dir=str(out),
      strict=True,
      use_directory_urls=False,  # It is read from a folder, too.
      nav=[{name: list(map(_entry, pages))} for name, pages in NAVIGATION],
      validation=dict(links=links, nav=dict(omitted_files='ignore')),
      theme=dict(
        name='material',
        font=False,  # Of the reader's system: none is fetched.
        features=['content.code.copy', 'navigation.sections'],
      ),
      plugins=['search'],
      hooks=[str(DOCS / 'website.py')],  # on_files, on_page_markdown
      markdown_extensions=[
        'tables',
        'fenced_code',
        'pymdownx.highlight',
        dict(toc=dict(slugify=anchor, permalink=True)),
      ],
    )
  )
  errors, warnings = config.validate()
  if errors or warnings:
    raise ValueError(f'mkdocs refuses its settings: {[*errors, *warnings]}')
  return config


def anchor(title: str, separator: str = '-') -> str:
  """Of a heading, as GitHub makes it."""
  return re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', separator)


def on_files(files: files_lib.Files, config: MkDocsConfig) -> files_lib.Files:
  """The pages of OUTSIDE, and every file that a page links to outside docs/."""
  for name, path in OUTSIDE.items():
    files.append(_from_root(config, name, path))
  for page in files.documentation_pages():
    text = pathlib.Path(page.abs_src_path).read_text()
    for _, link, _, _ in _LINK.findall(text):
      name = _in_root(page, link)
      if name and name not in OUTSIDE and (ROOT / name).is_file():
        path = _place(name)
        if not files.get_file_from_path(path):
          files.append(_from_root(config, name, path))
  return files


def on_page_markdown(
  markdown: str, page: Any, config: MkDocsConfig, files: files_lib.Files
) -> str:
  """The text of a page with links that lead to where things lie in the site."""
  del config, files

  def replace(match):
    name = _in_root(page.file, match[2])
    if name is None:
      return match[0]
    place = OUTSIDE.get(name) or _place(name)
    here = posixpath.dirname(page.file.src_uri)
    return ''.join(
      [
        match[1],
        posixpath.relpath(place, here or '.'),
        match[3] or '',
        match[4],
      ]
    )

  return _LINK.sub(replace, markdown)


def _entry(page):
  path = f'{page}.md'
  return {TITLES[page]: path} if page in TITLES else path


def _in_root(file, link):
  """The path in the project of what a page links to; None: one of docs' own."""
  if '://' in link or link.startswith('mailto:'):
    return None
  source = pathlib.Path(file.abs_src_path).parent
  path = (source / link).resolve()
  if not path.is_relative_to(ROOT) or not path.exists():
    return None  # mkdocs says what is wrong with it.
  name = path.relative_to(ROOT).as_posix()
  inside = name.startswith('docs/') and source.is_relative_to(DOCS)
  return None if inside else name


def _place(name):
  """Where a file of the project lies in the site: code as text."""
  if name.startswith('docs/'):
    return name.removeprefix('docs/')
  return f'code/{name}.txt'


def _from_root(config, name, path):
  return files_lib.File.generated(config, path, abs_src_path=str(ROOT / name))


if __name__ == '__main__':
  main()
