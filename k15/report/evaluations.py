"""Compares two evaluations, problem by problem: who won, and is it chance.

  python -m k15.report.evaluations A B [--html compare.html] [--shown 5]

A and B are workdirs whose stage 'evaluate' is done, or files of records, such
as evaluation_sft.jsonl and evaluation_rl.jsonl of one run.  It prints, for each
set, the difference with a paired bootstrap interval and p-value, McNemar's
exact test, and the problems won and lost with a response of each side; the
page shows more of them, in full.
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15 import files
from k15 import streams
from k15.equations import correctness
from k15.equations import statistics
from k15.report import markup
from k15.report import pictures
from k15.report import runs
from k15.report import tables
from k15.vision.store import ImageStore

# With so many the least p-value that can be told is 2 / 10,001.
_LEVEL, _RESAMPLES = 0.95, 10000
_NEEDED = {'problem_id', 'reward', 'response', 'length', 'stop'}
_ON_PAGE = 100  # problems of each kind
_WIDTH = 58  # characters of a column of text
_LINES = 12  # of a response


@dataclasses.dataclass(frozen=True)
class Pair:
  """One problem on both sides.

  Attributes:
    problem_id: of the set.
    a, b: records of its samples, in order.
  """

  problem_id: str
  a: list[dict[str, Any]]
  b: list[dict[str, Any]]

  @property
  def gain(self) -> float:
    """Accuracy of B minus that of A, in [-1, 1]."""
    return _accuracy(self.b) - _accuracy(self.a)


def read(path: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
  """Records by set and problem.

  Raises:
    ValueError: there are none.
  """
  place = pathlib.Path(path)
  paths = [place]
  if place.is_dir():
    folder = place / 'evaluation' if (place / 'evaluation').is_dir() else place
    # They may hold responses of other models, and of evaluations that were cut.
    journals = set(folder.glob('journal-*.jsonl'))
    paths = sorted(set(folder.glob('*.jsonl')) - journals)
  sets = {}
  for file in paths:
    for record in files.read_jsonl(file):
      problems = sets.setdefault(record.get('set', 'held_out'), {})
      if not record.keys() >= _NEEDED:
        raise ValueError(f'{file}: a record of {list(record)}')
      problems.setdefault(record['problem_id'], []).append(record)
  if not sets:
    raise ValueError(f'{path}: no evaluation that has finished')
  return sets


def pairs_of(
  a: Mapping[str, list], b: Mapping[str, list], name: str
) -> list[Pair]:
  """The problems that both sides were asked.

  Raises:
    ValueError: none, or one whose right answer is another.
  """
  pairs = [Pair(key, a[key], b[key]) for key in a if key in b]
  if not pairs:
    raise ValueError(f'{name}: no problem is on both sides')
  for pair in pairs:
    for key in ('answer', 'judge'):
      ours, theirs = pair.a[0].get(key), pair.b[0].get(key)
      if ours != theirs:
        raise ValueError(
          f'{name}: {pair.problem_id} has {key} {ours!r} and {theirs!r}'
        )
  return pairs


def measure(pairs: Sequence[Pair]) -> dict[str, Any]:
  """Both accuracies and lengths, their difference and how sure it is."""
  gains = np.array([pair.gain for pair in pairs])
  # Of seed 0 whatever the runs' are: two files always have one interval.
  rng = streams.rng(0, 'comparison')
  means = statistics.bootstrap(gains, _RESAMPLES, rng)
  low, high = statistics.interval(means, _LEVEL)
  won, lost = int((gains > 0).sum()), int((gains < 0).sum())
  return dict(
    problems=len(pairs),
    a=float(np.mean([_accuracy(pair.a) for pair in pairs])),
    b=float(np.mean([_accuracy(pair.b) for pair in pairs])),
    difference=dict(value=float(gains.mean()), low=low, high=high),
    p_bootstrap=statistics.p_value(means),
    won=won,
    lost=lost,
    p_mcnemar=statistics.mcnemar(won, lost),
    tokens_a=_mean_tokens([pair.a for pair in pairs]),
    tokens_b=_mean_tokens([pair.b for pair in pairs]),
  )


def of_kinds(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
  """Won and lost problems, the greatest difference first."""
  by_gain = sorted(pairs, key=lambda pair: -abs(pair.gain))
  return dict(
    won=[pair for pair in by_gain if pair.gain > 0],
    lost=[pair for pair in by_gain if pair.gain < 0],
  )


def _accuracy(records):
  return sum(map(correctness.accuracy_of, records)) / len(records)


def _mean_tokens(groups):
  return float(np.mean([np.mean([r['length'] for r in g]) for g in groups]))


def to_text(name: str, pairs: Sequence[Pair], shown: int) -> str:
  """Won and lost problems of a set, with responses side by side."""
  parts = []
  for kind, found in of_kinds(pairs).items():
    ids = ', '.join(pair.problem_id for pair in found)
    parts.append(f'{name}: {len(found)} {kind}{": " * bool(ids)}{ids}')
    parts += [_side_by_side(pair) for pair in found[:shown]]
  return '\n'.join(parts)


def to_html(
  labels: Sequence[str],
  sets: Mapping[str, list[Pair]],
  stores: Sequence[ImageStore] = (),
) -> str:
  """A page of its own: the numbers, then problems won and lost, in full.

  Args:
    labels: of A and B.
    sets: the problems of each set.
    stores: where their pictures are.
  """
  a, b = labels
  body = [markup.title(f'{a} → {b}', 'Two evaluations, problem by problem')]
  for name, pairs in sets.items():
    m = measure(pairs)
    samples = _samples(labels, pairs, stores)
    body.append(markup.section(name, [markup.tiles(_tiles(m)), *samples]))
  return markup.document(f'k15: {a} → {b}', '\n'.join(body))


def _tiles(m):
  d = m['difference']
  among = f'of {m["problems"]} problems'
  return [
    markup.tile('Accuracy', f'{100 * m["a"]:.1f} → {100 * m["b"]:.1f} %'),
    markup.tile(
      'Difference',
      f'{100 * d["value"]:+.1f}',
      f'{100 * d["low"]:+.1f} to {100 * d["high"]:+.1f},'
      f' p = {m["p_bootstrap"]:.2g} (paired bootstrap)',
    ),
    markup.tile(
      'Won and lost',
      f'{m["won"]} : {m["lost"]}',
      f'{among}, p = {m["p_mcnemar"]:.2g} (McNemar)',
    ),
    markup.tile('Mean tokens', f'{m["tokens_a"]:.0f} → {m["tokens_b"]:.0f}'),
  ]


def _samples(labels, pairs, stores):
  parts = []
  for kind, found in of_kinds(pairs).items():
    count = f'{len(found)} of {len(pairs)} problems'
    if len(found) > _ON_PAGE:
      count += f', {_ON_PAGE} of them shown'
    parts.append(markup.heading(kind.capitalize(), count))
    for pair in found[:_ON_PAGE]:
      responses = [
        markup.response(
          f'{label} ({_score(records)})', record, correctness.is_right(record)
        )
        for label, records, record in zip(
          labels, (pair.a, pair.b), _telling(pair), strict=True
        )
      ]
      parts.append(pictures.sample(stores, pair.a[0], responses))
  return parts


def _telling(pair):
  """A response of each side: the first that was better or worse."""
  wanted = (False, True) if pair.gain > 0 else (True, False)
  return tuple(
    next(r for r in records if correctness.is_right(r) == is_right)
    for records, is_right in zip((pair.a, pair.b), wanted, strict=True)
  )


def _side_by_side(pair):
  lines = [f'--- {pair.problem_id}: {_score(pair.a)} -> {_score(pair.b)}']
  lines += _wrapped(pair.a[0].get('prompt', ''), 2 * _WIDTH)[:_LINES]
  columns = []
  for record in _telling(pair):
    verdict = 'right' if correctness.is_right(record) else 'wrong'
    facts = f'[{verdict}, {record["length"]} tokens, {record["stop"]}]'
    text = _wrapped(record['response'], _WIDTH)
    if len(text) > _LINES:  # The end has the answer.
      text = [*text[: _LINES // 3], '…', *text[1 - _LINES + _LINES // 3 :]]
    columns.append([facts, *text])
  height = max(map(len, columns))
  left, right = (c + [''] * (height - len(c)) for c in columns)
  lines += [
    f'{x.ljust(_WIDTH)} | {y}'.rstrip()
    for x, y in zip(left, right, strict=True)
  ]
  return '\n'.join(lines)


def _wrapped(text, width):
  """Lines of at most `width` characters; what would not show is escaped."""
  lines = []
  for line in str(text).splitlines():
    line = ''.join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    lines += [line[i : i + width] for i in range(0, len(line), width)]
  return lines


def _score(records):
  return f'{sum(map(correctness.is_right, records))}/{len(records)}'


def _table(measures):
  rows = [
    [
      'set', 'problems', 'A', 'B', 'B - A', 'p (bootstrap)', 'won', 'lost',
      'p (McNemar)', 'tokens A', 'tokens B',
    ]
  ]  # fmt: skip
  for name, m in measures.items():
    rows.append(
      [
        name,
        str(m['problems']),
        f'{m["a"]:.3f}',
        f'{m["b"]:.3f}',
        tables.estimate(m['difference']),
        f'{m["p_bootstrap"]:.2g}',
        str(m['won']),
        str(m['lost']),
        f'{m["p_mcnemar"]:.2g}',
        tables.number(m['tokens_a']),
        tables.number(m['tokens_b']),
      ]
    )
  return tables.columns(rows)


def main(argv: Sequence[str]) -> None:
  parser = argparse.ArgumentParser(
    prog='python -m k15.report.evaluations',
    description=__doc__.partition('\n')[0],
  )
  parser.add_argument('a')
  parser.add_argument('b')
  parser.add_argument('--html', default='compare.html', help="'' writes none")
  parser.add_argument('--shown', type=int, default=5, help='of each kind')
  args = parser.parse_args(argv)
  try:
    a, b = read(args.a), read(args.b)
    names = [name for name in a if name in b]
    sets = {name: pairs_of(a[name], b[name], name) for name in names}
    if not sets:
      raise ValueError(f'no set is on both sides: {list(a)} and {list(b)}')
  except (ValueError, OSError) as error:
    sys.exit(f'k15: {error}')
  for name, pairs in sets.items():
    print(to_text(name, pairs, args.shown))
  print(_table({name: measure(pairs) for name, pairs in sets.items()}))
  left_out = {*a, *b} - {*names}
  for name in names:
    alone = len(a[name].keys() ^ b[name].keys())
    if alone:
      print(f'{name}: {alone} problems are on one side only, and left out')
  if left_out:
    print(f'on one side only, and left out: {", ".join(sorted(left_out))}')
  if args.html:
    # A file is in a workdir, or in a folder of one.
    places = [pathlib.Path(path).resolve() for path in (args.a, args.b)]
    places = [p for place in places for p in (place, *place.parents[:2])]
    names = runs.short_paths([args.a, args.b])
    document = to_html(names, sets, pictures.opened(places))
    files.replace_file(args.html, document.encode())
    print(f'page: {args.html}')


if __name__ == '__main__':
  main(sys.argv[1:])
