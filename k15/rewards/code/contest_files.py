"""Files of contest problems: read, given test cases, and what is left of them.

What `test_cases` decides is kept in a folder, problem by problem, so that
whatever ends a process costs one problem:

  selections.jsonl  a line for each: why it was dropped, and the numbers
  problems.jsonl    what is kept, for `task.train_path` and reward code_tests
  funnel.txt        the table of how many are left, beside the paper's
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import files
from k15.rewards.code import contests
from k15.rewards.code import programs
from k15.rewards.code import rows as rows_lib
from k15.rewards.code import test_cases
from k15.rewards.sandbox import languages
from k15.rewards.sandbox import pool as pool_lib

_RULES = test_cases.Rules()


def read(path: str | pathlib.Path) -> list[test_cases.ContestProblem]:
  """The problems of a file of JSON.

  A row has `id`, `statement`, `submissions` (objects of `language` and
  `source`), perhaps `needs_special_judge` and `tolerance`.

  Raises:
    ValueError: a row that is none, an id twice; says where.
    OSError: it cannot be opened.
  """
  problems = {}
  for where, row in rows_lib.read(path):
    try:
      problem = _problem(row)
    except ValueError as error:
      raise ValueError(f'{where}: {error}') from None
    if problem.id in problems:
      raise ValueError(f'{where}: the id {problem.id!r} comes twice')
    problems[problem.id] = problem
  return list(problems.values())


def _problem(row):
  submissions = row.get('submissions')
  if not isinstance(submissions, list):
    raise ValueError("field 'submissions' is not a list")
  found = []
  for submission in submissions:
    if not isinstance(submission, dict):
      raise ValueError("field 'submissions' has what is no object")
    language = rows_lib.text(submission, 'language')
    if language not in languages.LANGUAGES:
      known = ', '.join(languages.LANGUAGES)
      raise ValueError(f'language {language!r} is not one of {known}')
    source = rows_lib.text(submission, 'source')
    found.append(test_cases.Submission(language, source))
  return test_cases.ContestProblem(
    id=rows_lib.text(row, 'id'),
    statement=rows_lib.text(row, 'statement'),
    submissions=tuple(found),
    needs_special_judge=bool(row.get('needs_special_judge')),
    tolerance=float(row.get('tolerance') or 0.0),
  )


def select(
  problems: Sequence[test_cases.ContestProblem],
  texts: Mapping[str, str],
  pool: pool_lib.Pool,
  folder: pathlib.Path,
  language: str = 'python',
  rules: test_cases.Rules = _RULES,
  seed: int = 0,
) -> str:
  """Makes the test cases that the folder lacks; returns the funnel.

  Args:
    texts: of a model, by problem; each holds a generator, perhaps.
    pool: from `test_cases.make_pool`.
    language: that programs are asked for in problems.jsonl.
    rules, seed: see `test_cases.select`.
  """
  path, selections = folder / 'selections.jsonl', []
  known = {line['key']: line for line in files.read_jsonl(path)}
  for problem in problems:
    text = texts.get(problem.id, '')
    key = _key(problem, text, rules, seed, language)
    if key not in known:
      [selection] = test_cases.select(
        [problem], lambda _, text=text: [text], pool, rules, seed
      )
      known[key] = dict(key=key) | _line(selection, language)
      files.append_jsonl(path, [known[key]])
    line = known[key]
    selections.append(test_cases.Selection(problem, line['dropped']))
  kept = [
    line['record']
    for line in known.values()
    if line['record'] and line['id'] in {p.id for p in problems}
  ]
  files.replace_jsonl(folder / 'problems.jsonl', kept)
  table = test_cases.funnel(selections, rules)
  (folder / 'funnel.txt').write_text(table + '\n')
  return table


def _key(problem, *settings):
  parts = [problem.id, problem.statement, problem.needs_special_judge]
  parts += [problem.tolerance, *map(repr, [problem.submissions, *settings])]
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _line(selection, language) -> dict[str, Any]:
  problem, record = selection.problem, None
  if not selection.dropped:
    record = dict(
      id=problem.id,
      domain='code',
      prompt=contests.ask(problem.statement, language),
      answer=programs.to_text(selection.tests, language),
    )
  return dict(
    id=problem.id,
    dropped=selection.dropped,
    inputs=selection.num_inputs,
    valid=len(selection.tests),
    passing=selection.num_passing,
    errors={' '.join(who): n for who, n in selection.errors.items()},
    record=record,
  )
