"""Random streams: each has a name, no two are equal, none is beside them."""

import ast
import itertools
import pathlib

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15 import streams
from k15.runtime import weights
from k15.stages import short_rl
from k15.stages.rl import loop

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2, 5, 2**32 - 1)
# What numpy would pad alike, and what a stage could be taken for.
PARTS = ((), (0,), (0, 0), (1,), (0, 1), (1, 0))
KINDS = [name for name, number in streams.NUMBERS.items() if number < 100]
STAGES = [name for name, number in streams.NUMBERS.items() if number >= 100]


def _all():
  """(seed, name, parts...) of every stream, with and without stage, numbers."""
  stages = [(), *((stage,) for stage in STAGES)]
  for seed, name, stage, parts in itertools.product(
    SEEDS, KINDS, stages, PARTS
  ):
    yield seed, name, *stage, *parts


def test_no_two_streams_are_equal():
  every = list(_all())
  assert len(every) == len(set(every)) == len(SEEDS) * len(KINDS) * 22 * 6
  draws = {streams.rng(*stream).bytes(16) for stream in every}
  assert len(draws) == len(every)


def test_no_two_keys_are_equal():
  kinds = ('weights', 'rollout', 'serving', 'adapters')
  every = [s for s in _all() if s[1] in kinds]
  data = [jax.random.key_data(streams.key(*stream)) for stream in every]
  words = {np.asarray(x).tobytes() for x in data}
  assert len(words) == len(every)
  # And what is drawn, for keys that one run uses side by side.
  used = [('weights',), ('serving',), *(('rollout', s) for s in STAGES)]
  draws = {
    np.asarray(jax.random.bits(streams.key(seed, *name), (4,))).tobytes()
    for seed in SEEDS
    for name in used
  }
  assert len(draws) == len(SEEDS) * len(used)
  assert data[0].dtype == np.uint32 and data[0].shape == (2,)


def test_seeds_for_other_libraries_differ():
  names = ('example order', 'best fit')
  every = [(s, n, t) for s in SEEDS for n in names for t in STAGES]
  assert len({streams.number(*stream) for stream in every}) == len(every)


def test_a_stream_is_the_same_when_made_again():
  again = [streams.rng(3, 'updates', 'rl', 7).random(5) for _ in range(2)]
  np.testing.assert_array_equal(*again)
  assert streams.key(3, 'weights') == streams.key(3, 'weights')


def test_numbers_and_ids_are_given_once():
  assert len(set(streams.NUMBERS.values())) == len(streams.NUMBERS)
  ranges = sorted(streams.IDS.values(), key=lambda ids: ids.start)
  assert ranges[0].start == 0 and ranges[-1].stop == 2**31
  for left, right in itertools.pairwise(ranges):
    assert left.stop <= right.start


def test_what_has_no_name_is_refused():
  with pytest.raises(KeyError, match='dice'):
    streams.rng(0, 'dice')
  for seed, part in ((-1, 0), (0, -1), (2**32, 0), (0, 2**32)):
    with pytest.raises(ValueError, match='is not in'):
      streams.rng(seed, 'updates', part)


def test_nothing_is_drawn_beside_the_table():
  makers = {'default_rng', 'SeedSequence', 'RandomState', 'PRNGKey', 'key'}
  makers |= {'Generator', 'Philox', 'PCG64', 'split', 'fold_in'}
  for path in sorted((ROOT / 'k15').rglob('*.py')):
    if path == ROOT / 'k15/streams.py':
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      if not isinstance(node, ast.Call):
        continue
      name = ast.unparse(node.func)
      if not name.startswith(('np.random.', 'jax.random.')):
        continue
      made = name.rpartition('.')[2]
      # A key of a rollout and ids become those of a token.
      allowed = made == 'fold_in' and path.name == 'sampling.py'
      where = f'{path.relative_to(ROOT)}:{node.lineno}: {name}'
      assert made not in makers or allowed, where


def test_short_rl_draws_nothing_that_rl_drew(tmp_path):
  # A policy that does not move: all that could differ is what is drawn.
  context = small_run.make_context(
    tmp_path,
    stages=('rl', 'short_rl'),
    optimizer__learning_rate=1e-30,
    rollout__token_budget=16,
    short_rl__iterations=3,
    short_rl__max_length=16,
  )
  loop.train(context, lambda: weights.load_params(context, None))
  short_rl.train(context, None)
  rows = files.read_jsonl(context.workdir / 'groups.jsonl')
  drawn, tokens = {}, {}
  for row in rows:
    stage = row['stage']
    drawn.setdefault(stage, []).append(row['problem_id'])
    crcs = zip(row['crc32'], row['lengths'], strict=True)
    # One that ends at once says nothing.
    long = {crc for crc, length in crcs if length > 2}
    tokens[stage] = tokens.get(stage, set()) | long
  assert len(drawn['rl']) == len(drawn['short_rl']) == 12
  assert drawn['rl'] != drawn['short_rl']
  assert len(tokens['rl']) > 12 and len(tokens['short_rl']) > 12
  assert not tokens['rl'] & tokens['short_rl']
