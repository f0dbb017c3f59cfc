"""Cleans documents before pretraining: Kimi k1.5, section 2.5.1.

  python -m k15.curation.clean_documents raw.jsonl more.parquet --out=cleaned \\
      --good=good.jsonl --bad=bad.jsonl

takes files of {text, domain} through `document_funnel` and leaves in --out

  documents.jsonl   what stays, as the stages `pretrain` and so on read it
  removed.jsonl     every other document, the step and the reason
  funnel.json       counts, domains and examples by step; funnel.txt, its table

The quality score is of a classifier that learns to tell the documents of --good
from those of --bad, four of five of each; how it does on the fifth is printed
and kept in funnel.json.  With --score=FIELD it is a number in each row, such as
a language model gave; with neither, that step is left out.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from k15 import files
from k15.curation import document_funnel
from k15.curation import funnel
from k15.curation import text_quality
from k15.data import documents as documents_lib
from k15.data import rows
from k15.data.conversations import DataError

_EVERY = 5  # One in so many is not learnt from, and measures.
_EXAMPLES = 3  # of a reason


def read(
  paths: Sequence[str], field: str
) -> tuple[list[documents_lib.Document], list[float] | None]:
  """Documents of files and their scores; None if no field is asked for.

  Raises:
    DataError: a row that is no document, or whose score is no number.
    ValueError, OSError: a file that cannot be read.
  """
  found, scores = [], []
  for path in paths:
    for _, where, row in rows.read_rows(path):
      found.append(documents_lib.document_of(row, where))
      if field:
        score = row.get(field)
        if isinstance(score, bool) or not isinstance(score, int | float):
          raise DataError(f'{where}: {field!r} is {score!r}, and no number')
        scores.append(float(score))
  return found, scores if field else None


def learnt(
  good: Sequence[str], bad: Sequence[str]
) -> tuple[text_quality.Classifier, dict[str, float]]:
  """A classifier, and the share of either side that it gets right unseen."""
  learn = [[t for i, t in enumerate(s) if i % _EVERY] for s in (good, bad)]
  classifier = text_quality.train(*learn)
  is_right = [
    (text_quality.scores(classifier, side[::_EVERY]) >= 0.5) == is_good
    for side, is_good in ((good, True), (bad, False))
  ]
  return classifier, dict(
    good=len(good),
    bad=len(bad),
    unseen_good_right=float(np.mean(is_right[0])),
    unseen_bad_right=float(np.mean(is_right[1])),
  )


def write(
  folder: pathlib.Path,
  found: Sequence[documents_lib.Document],
  kept: Sequence[documents_lib.Document],
  steps: Sequence[funnel.Step],
  facts: dict[str, Any],
) -> str:
  """Leaves the four files; returns the table."""
  folder.mkdir(parents=True, exist_ok=True)
  lines = [dict(text=d.text, domain=d.domain) for d in kept]
  files.replace_jsonl(folder / 'documents.jsonl', lines)
  removed = [
    dict(step=step.name, domain=removal.problem.domain)
    | funnel.removal_record(removal)
    for step in steps
    for removal in step.removals
  ]
  files.replace_jsonl(folder / 'removed.jsonl', removed)
  records = funnel.records_of(steps, _EXAMPLES)
  tags = document_funnel.domain_counts(found, kept)
  content = dict(steps=records, tags=tags, **facts)
  files.replace_json(folder / 'funnel.json', content)
  table = funnel.table(records)
  files.replace_file(folder / 'funnel.txt', (table + '\n').encode())
  return table


def main(argv: Sequence[str]) -> None:
  """The command; bad input ends it with 2 and a sentence."""
  default = text_quality.Rules()
  parser = argparse.ArgumentParser(
    prog='python -m k15.curation.clean_documents'
  )
  parser.add_argument('files', nargs='+', metavar='FILE')
  parser.add_argument('--out', required=True, metavar='FOLDER')
  parser.add_argument('--good', default='', metavar='FILE')
  parser.add_argument('--bad', default='', metavar='FILE')
  parser.add_argument('--score', default='', metavar='FIELD')
  parser.add_argument('--least-score', type=float, default=0.5)
  parser.add_argument('--similarity', type=float, default=0.8)
  parser.add_argument('--least-words', type=int, default=default.least_words)
  args = parser.parse_args(argv)
  if bool(args.good) != bool(args.bad) or (args.good and args.score):
    parser.error('--good and --bad come together, and without --score')
  try:
    found, scores = read(args.files, args.score)
    facts = {}
    if args.good:
      sides = [
        [document.text for document in read([path], '')[0]]
        for path in (args.good, args.bad)
      ]
      classifier, facts['classifier'] = learnt(*sides)
      scores = text_quality.scores(classifier, [d.text for d in found])
      print(f'classifier: {facts["classifier"]}')
  except (ValueError, OSError) as error:
    print(f'k15: {error}', file=sys.stderr)
    sys.exit(2)
  rules = text_quality.Rules(least_words=args.least_words)
  kept, steps = document_funnel.run(
    found, rules, args.similarity, scores, args.least_score
  )
  print(write(pathlib.Path(args.out), found, kept, steps, facts))
  for name, (before, after) in document_funnel.domain_counts(
    found, kept
  ).items():
    print(f'{name}: {after} of {before} stay')


if __name__ == '__main__':
  main(sys.argv[1:])
