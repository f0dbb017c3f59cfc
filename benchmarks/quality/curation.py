"""The text steps of curation on public sets: the funnel, and what it misses.

  python -m benchmarks.quality.curation --data FOLDER

GSM8K train and MATH train against MATH-500 and GSM8K test.  Then: does hashing
lose pairs that comparing all finds, and which rewritten evaluation problems are
recognised?
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import scipy.sparse

from benchmarks import together
from benchmarks.quality import public_data
from experiments import base
from k15 import files
from k15.curation import near_duplicates
from k15.data import problems
from k15.data_types import Problem
from k15.report import figures
from k15.report import funnel_chart

TRAIN = 'gsm8k/train.jsonl', 'math_train7474/train.json'
EVALUATION = 'math500/math500.json', 'gsm8k/test.jsonl'
THRESHOLDS = 0.4, 0.5, 0.55, 0.6, 0.7, 0.8
_SENTENCE = re.compile(r'(?<=[.?!])\s+(?=[A-Z])')
_SYNONYMS = {
  'Find': 'Determine', 'Compute': 'Calculate', 'Evaluate': 'Work out',
  'How many': 'What is the number of', 'how many': 'what number of',
  'What is': 'Find', 'greatest': 'largest', 'total': 'overall', 'each': 'every',
  'Let': 'Suppose', 'such that': 'so that', 'buys': 'purchases',
}  # fmt: skip


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--picture', default='', help='PNG of the funnel')
  public_data.add_argument(parser)
  args = parser.parse_args()
  train = problems.convert(_paths(args.data, TRAIN))
  evaluation = problems.convert(_paths(args.data, EVALUATION))
  with tempfile.TemporaryDirectory() as folder:
    seconds, found = _curate(pathlib.Path(folder), train, evaluation)
  print(f'{seconds:.1f} seconds of processor time')
  if args.picture:
    png = figures.to_png(funnel_chart.draw(found['steps']))
    pathlib.Path(args.picture).write_bytes(png)
  train, evaluation = _problems(train), _problems(evaluation)
  result = dict(
    curation_cpu_seconds=round(seconds, 1),
    curation_funnel={s['step']: s['removed'] for s in found['steps']},
    curation_kept=found['steps'][-1]['after'],
  )
  result |= _hashing(train, evaluation)
  result |= _thresholds(train, evaluation)
  result |= _rewritten(evaluation)
  print(together.MARK + json.dumps(result))


def _paths(data, names):
  return [str(public_data.need(data / name)) for name in names]


def _problems(rows):
  return [Problem(**row) for row in rows]


def _curate(folder, train, evaluation):
  """The command on files alone; processor seconds and funnel.json."""
  files.replace_jsonl(folder / 'train.jsonl', train)
  files.replace_jsonl(folder / 'evaluation.jsonl', evaluation)
  command = [
    *(sys.executable, '-m', 'k15.main', '--config=experiments/curate.py'),
    f'--workdir={folder}/run',
    f'--config.task.train_path={folder}/train.jsonl',
    f"--config.curation.evaluation_paths=('{folder}/evaluation.jsonl',)",
  ]
  subprocess.run(command, check=True)
  # Processor time, which other work on the machine hardly changes.
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  seconds = used.ru_utime + used.ru_stime
  return seconds, json.loads((folder / 'run/curation/funnel.json').read_text())


def _hashing(train, evaluation):
  """Of the problems alike by comparing all pairs, how many hashing finds."""
  at = base.get_config().curation.duplicate_similarity
  start = time.perf_counter()
  alike = set(near_duplicates.find(train, evaluation, at, at))
  hashed = time.perf_counter() - start
  pairs = [
    [near_duplicates.shingles(near_duplicates.tokens(p.prompt)) for p in part]
    for part in (train, evaluation)
  ]
  vocabulary = {
    s: i for i, s in enumerate(sorted(set().union(*sum(pairs, []))))
  }
  a, b = (_matrix(part, vocabulary) for part in pairs)
  common = (a @ b.T).tocoo()
  sizes_a, sizes_b = (np.array([len(s) for s in part]) for part in pairs)
  union = sizes_a[common.row] + sizes_b[common.col] - common.data
  exact = set(common.row[common.data >= at * union].tolist())
  print(
    f'alike at {at}: {len(exact)} by comparing all, {len(exact & alike)} of'
    f' them by hashing, in {hashed:.1f} s'
  )
  return dict(curation_alike=len(exact), curation_hashed=len(exact & alike))


def _matrix(sets, vocabulary):
  rows = np.repeat(np.arange(len(sets)), [len(s) for s in sets])
  columns = [vocabulary[pair] for s in sets for pair in s]
  ones = np.ones(len(columns), np.int32)
  shape = len(sets), len(vocabulary)
  return scipy.sparse.csr_matrix((ones, (rows, columns)), shape)


def _thresholds(train, evaluation):
  """How many are found, by threshold."""
  lowest = THRESHOLDS[0]
  found = dict(
    duplicates_within=near_duplicates.find_within(train, lowest),
    evaluation_duplicates=near_duplicates.find(train, evaluation, lowest, 0.0),
    evaluation_variants=near_duplicates.find(train, evaluation, 1.0, lowest),
  )
  print(f'{"threshold":34}' + ''.join(f'{at:>8}' for at in THRESHOLDS))
  result = {}
  for name, matches in found.items():
    counts = [_count(matches, at, at) for at in THRESHOLDS]
    result[f'curation_{name}'] = counts
    print(f'{name:34}' + ''.join(f'{count:>8}' for count in counts))
  return result


def _count(matches, duplicates_at, variants_at):
  """Matches that higher thresholds would find."""
  at = dict(exact=0.0, duplicate=duplicates_at, variant=variants_at)
  return sum(m.similarity >= at[m.kind] for m in matches.values())


def _rewritten(evaluation):
  """Share of rewritten evaluation problems that are found, by threshold."""
  ways = dict(
    layout=_layout,
    instructions=_instructions,
    synonyms=_synonyms,
    names=_names,
    sentences=_sentences,
    variable=_variable,
    numbers=_numbers,
  )
  result = {}
  for name, rewrite in ways.items():
    changed = [
      dataclasses.replace(p, prompt=rewrite(p.prompt)) for p in evaluation
    ]
    pairs = zip(evaluation, changed, strict=True)
    changed = [new for old, new in pairs if new.prompt != old.prompt]
    matches = near_duplicates.find(changed, evaluation, THRESHOLDS[0], 0.8)
    shares = [_count(matches, at, 0.8) / len(changed) for at in THRESHOLDS]
    result[f'curation_recall_{name}'] = [round(share, 3) for share in shares]
    print(
      f'{name + f" ({len(changed)})":34}'
      + ''.join(f'{share:8.3f}' for share in shares)
    )
  return result


def _layout(prompt):
  """Other spaces, brackets and fractions; the same to the eye."""
  prompt = prompt.replace('\\frac', '\\dfrac').replace('\n', ' ')
  prompt = re.sub(r' ?([-+=<>]) ?', r' \1 ', prompt)
  return re.sub(r'\$([^$]+)\$', r'\\(\1\\)', prompt)


def _instructions(prompt):
  return (
    'Solve the following problem step by step.\n\n' + prompt + '\n\nPut your'
    ' final answer within \\boxed{}.'
  )


def _synonyms(prompt):
  for word, other in _SYNONYMS.items():
    prompt = re.sub(rf'\b{word}\b', other, prompt)
  return prompt


def _names(prompt):
  """Capitalised words that come twice or more, as people of stories do."""
  words = re.findall(r'(?<![\\$A-Za-z])[A-Z][a-z]{2,}\b', prompt)
  people = [
    word
    for word, count in collections.Counter(words).items()
    if count > 1 and word not in ('The', 'How', 'What', 'She', 'They', 'Let')
  ]
  for person, other in zip(
    people, ('Wei', 'Amara', 'Tomas', 'Yuki', 'Leila'), strict=False
  ):
    prompt = re.sub(rf'\b{person}\b', other, prompt)
  return prompt


def _sentences(prompt):
  """The first two in the other order."""
  parts = _SENTENCE.split(prompt)
  return (
    ' '.join([parts[1], parts[0], *parts[2:]]) if len(parts) > 2 else prompt
  )


def _variable(prompt):
  """x, n or a in formulas becomes w."""
  return re.sub(r'(?<![\\a-zA-Z])[xna](?![a-zA-Z])(?=[^$]*\$)', 'w', prompt)


def _numbers(prompt):
  """Every number one higher: another problem of the same template."""
  return re.sub(r'\d+', lambda found: str(int(found[0]) + 1), prompt)


if __name__ == '__main__':
  main()
