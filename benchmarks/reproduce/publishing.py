"""What becomes of a figure's runs: verdict, picture, JSON, page and rows."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.reproduce import ablation_page
from benchmarks.reproduce import ablation_runs
from benchmarks.reproduce import claim_pages
from benchmarks.reproduce import findings
from benchmarks.reproduce import published
from benchmarks.reproduce import running
from benchmarks.reproduce import tables
from benchmarks.reproduce import verdicts
from experiments.ablations import claims
from k15 import files
from k15.report import figures


def publish(name: str, root: pathlib.Path) -> int:
  """Measures and draws one claim; the exit code: 1 if units are missing.

  Raises:
    DataError: see `ablation_runs`, `findings` and `published`.
    SweepError: of the ablation's file.
  """
  config, units = running.units_of(name, 'cpu', root)
  arms, missing = ablation_runs.read_arms(config, units, root / name)
  path, date = published.path_of(name), time.strftime('%F')
  if missing == len(units):
    arms, missing = published.read(path, config, units), 0
    date = files.read_json(path).get('date', date)
  page = ablation_runs.page_of(config)
  claim = page['CLAIM']
  result = verdicts.of_claim(claim, page['OUTCOME'], arms)
  _print(name, claim, result)
  picture = figures.to_png(ablation_page.draw(claim, arms, result.conditions))
  if missing:
    print(f'{name}: {missing} of {len(units)} units are missing')
    (root / name / 'preview.png').write_bytes(picture)
    return 1
  path.parent.mkdir(parents=True, exist_ok=True)
  files.replace_file(path.with_suffix('.png'), picture)
  content = published.content_of(name, claim, config, arms, result, date)
  files.replace_file(path, published.dumps(content).encode())
  write_page(content)
  return 0


def write_page(content: Mapping[str, Any]) -> None:
  """The page of a claim, and its rows, of what its JSON holds."""
  name = content['name']
  path = published.path_of(name).with_suffix('.md')
  files.replace_file(path, claim_pages.to_markdown(content).encode())
  for table, row in (
    (tables.DOCS, tables.docs_row(content)),
    (tables.README, tables.readme_row(content)),
  ):
    text = pathlib.Path(table.page).read_text()
    text = tables.update(table, text, name, row, claims.FIGURES)
    files.replace_file(table.page, text.encode())


def rewrite_page(name: str) -> int:
  """The same of runs that are gone and are not judged again; 1 if none were."""
  content = files.read_json(published.path_of(name))
  if not content:
    print(f'{name}: nothing is published')
    return 1
  write_page(content)
  return 0


def _print(name, claim, result):
  print(f'{name} ({claim.figure}): {claim.question}')
  for condition in result.conditions:
    print(f' ? {condition.text()}')
  for what, found in result.estimates.items():
    text = 'not measured' if found is None else findings.text(found)
    if what in result.judged:
      print(f' * {what}: {text}: {result.judged[what].verdict}')
    else:
      print(f'   {what}: {text}')
  print(f'  {result.verdict}: {result.sentence}', flush=True)
