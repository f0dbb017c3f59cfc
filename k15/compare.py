"""Compares two evaluations, problem by problem.

  python -m k15.compare A B [--html compare.html] [--shown 5]

A and B are workdirs whose stage 'evaluate' is done, or files of records, such
as evaluation_sft.jsonl and evaluation_rl.jsonl of one run.  It prints, for each
set, the difference with a paired bootstrap interval and p-value, McNemar's
exact test, and the problems won and lost with a response of each side; the
page shows more of them, in full.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence

from k15 import correctness
from k15 import eval_pairs
from k15 import eval_table
from k15 import files
from k15 import page
from k15.eval_pairs import Pair

_ON_PAGE = 100  # problems of each kind
_WIDTH = 58  # characters of a column of text
_LINES = 12  # of a response


def to_text(name: str, pairs: Sequence[Pair], shown: int) -> str:
  """Won and lost problems of a set, with responses side by side."""
  parts = []
  for kind, found in eval_pairs.of_kinds(pairs).items():
    ids = ', '.join(pair.problem_id for pair in found)
    parts.append(f'{name}: {len(found)} {kind}{": " * bool(ids)}{ids}')
    parts += [_side_by_side(pair) for pair in found[:shown]]
  return '\n'.join(parts)


def to_html(labels: tuple[str, str], sets: Mapping[str, list[Pair]]) -> str:
  """A page of its own: the numbers, then problems won and lost, in full."""
  a, b = labels
  body = [page.title(f'{a} → {b}', 'Two evaluations, problem by problem')]
  for name, pairs in sets.items():
    m = eval_pairs.measure(pairs)
    body.append(
      page.section(name, [page.tiles(_tiles(m)), *_samples(labels, pairs)])
    )
  return page.document(f'k15: {a} → {b}', '\n'.join(body))


def _tiles(m):
  d = m['difference']
  among = f'of {m["problems"]} problems'
  return [
    page.tile('Accuracy', f'{100 * m["a"]:.1f} → {100 * m["b"]:.1f} %'),
    page.tile(
      'Difference',
      f'{100 * d["value"]:+.1f}',
      f'{100 * d["low"]:+.1f} to {100 * d["high"]:+.1f},'
      f' p = {m["p_bootstrap"]:.2g} (paired bootstrap)',
    ),
    page.tile(
      'Won and lost',
      f'{m["won"]} : {m["lost"]}',
      f'{among}, p = {m["p_mcnemar"]:.2g} (McNemar)',
    ),
    page.tile('Mean tokens', f'{m["tokens_a"]:.0f} → {m["tokens_b"]:.0f}'),
  ]


def _samples(labels, pairs):
  parts = []
  for kind, found in eval_pairs.of_kinds(pairs).items():
    count = f'{len(found)} of {len(pairs)} problems'
    if len(found) > _ON_PAGE:
      count += f', {_ON_PAGE} of them shown'
    parts.append(page.heading(kind.capitalize(), count))
    for pair in found[:_ON_PAGE]:
      responses = [
        page.response(
          f'{label} ({_score(records)})',
          record,
          correctness.is_right(record),
        )
        for label, records, record in zip(
          labels, (pair.a, pair.b), _telling(pair), strict=True
        )
      ]
      parts.append(page.sample(pair.a[0], responses))
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
        eval_table.estimate(m['difference']),
        f'{m["p_bootstrap"]:.2g}',
        str(m['won']),
        str(m['lost']),
        f'{m["p_mcnemar"]:.2g}',
        eval_table.number(m['tokens_a']),
        eval_table.number(m['tokens_b']),
      ]
    )
  return eval_table.columns(rows)


def _labels(a, b):
  """Both paths without the folders they share."""
  paths = [pathlib.Path(path).absolute().parts for path in (a, b)]
  same = 0
  while same < min(map(len, paths)) - 1 and paths[0][same] == paths[1][same]:
    same += 1
  return tuple('/'.join(parts[same:]) for parts in paths)


def main(argv: Sequence[str]) -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('a')
  parser.add_argument('b')
  parser.add_argument('--html', default='compare.html', help="'' writes none")
  parser.add_argument('--shown', type=int, default=5, help='of each kind')
  args = parser.parse_args(argv)
  try:
    a, b = eval_pairs.read(args.a), eval_pairs.read(args.b)
    names = [name for name in a if name in b]
    sets = {name: eval_pairs.pairs_of(a[name], b[name], name) for name in names}
    if not sets:
      raise ValueError(f'no set is on both sides: {list(a)} and {list(b)}')
  except (ValueError, OSError) as error:
    sys.exit(f'k15: {error}')
  for name, pairs in sets.items():
    print(to_text(name, pairs, args.shown))
  print(
    _table({name: eval_pairs.measure(pairs) for name, pairs in sets.items()})
  )
  left_out = {*a, *b} - {*names}
  for name in names:
    alone = len(a[name].keys() ^ b[name].keys())
    if alone:
      print(f'{name}: {alone} problems are on one side only, and left out')
  if left_out:
    print(f'on one side only, and left out: {", ".join(sorted(left_out))}')
  if args.html:
    document = to_html(_labels(args.a, args.b), sets)
    files.replace_file(args.html, document.encode())
    print(f'page: {args.html}')


if __name__ == '__main__':
  main(sys.argv[1:])
