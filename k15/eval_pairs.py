"""Two evaluations of the same problems: who won which, and is it chance."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15 import correctness
from k15 import eval_metrics
from k15 import files
from k15 import streams

_LEVEL, _RESAMPLES = 0.95, 10000
_NEEDED = {'problem_id', 'reward', 'response', 'length', 'stop'}


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
  rng = streams.rng(0, 'comparison')
  means = eval_metrics.bootstrap(gains, _RESAMPLES, rng)
  low, high = eval_metrics.interval(means, _LEVEL)
  won, lost = int((gains > 0).sum()), int((gains < 0).sum())
  return dict(
    problems=len(pairs),
    a=float(np.mean([_accuracy(pair.a) for pair in pairs])),
    b=float(np.mean([_accuracy(pair.b) for pair in pairs])),
    difference=dict(value=float(gains.mean()), low=low, high=high),
    p_bootstrap=eval_metrics.p_value(means),
    won=won,
    lost=lost,
    p_mcnemar=eval_metrics.mcnemar(won, lost),
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
