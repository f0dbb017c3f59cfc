"""DPO as a stage: pairs side by side, a growing margin, resumed bit for bit."""

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15.data import conversations
from k15.runtime import context as context_lib
from k15.stages import collection
from k15.stages import dpo
from k15.training import batching
from k15.training.sequences import Sequence

CHANGES = dict(
  stages=('dpo',),
  long2short__problems=6,
  long2short__samples=4,
  dpo__steps=5,
  dpo__batch_pairs=3,
  dpo__learning_rate=0.01,
  dpo__end_learning_rate=0.001,
  dpo__warmup_steps=1,
  dpo__log_every=1,
)


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def _rows(folder):
  return [
    {k: v for k, v in r.items() if not k.startswith('time')}
    for r in files.read_jsonl(folder / 'metrics.jsonl')
  ]


def _collected(context, model, num_problems, samples):
  """Four responses to each: 2, 3 and 4 tokens, right, and 5, wrong."""
  del model
  rng = np.random.default_rng(0)
  return [
    (
      problem,
      [
        collection.Response(
          rng.integers(0, 250, n + 2).astype(np.int32), n < samples - 1
        )
        for n in range(samples)
      ],
    )
    for problem in context.task.train[:num_problems]
  ]


def _context(folder):
  return small_run.make_context(folder, **CHANGES)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(collection, 'collect', _collected)
    context = _context(tmp_path_factory.mktemp('dpo'))
    return dpo.train(context, None), context.workdir


@pytest.fixture(autouse=True)
def _written_responses(monkeypatch):
  monkeypatch.setattr(collection, 'collect', _collected)


def test_numbers_of_the_steps(whole):
  rows = _rows(whole[1])
  # Of 2, 3, 4 and 5 tokens, preferred is 2; rejected are 3 and 4, 1.5 times and
  # more, and 5, which is wrong.
  assert rows[0] == {
    'stage': 'dpo', 'step': 0, 'dpo/problems': 6, 'dpo/pairs': 18
  }  # fmt: skip
  steps = rows[1:]
  assert [r['step'] for r in steps] == [0, 1, 2, 3, 4]
  # The first step is that of the reference: no margin, log 2.
  assert steps[0]['dpo/margin'] == pytest.approx(0, abs=1e-5)
  assert steps[0]['dpo/loss'] == pytest.approx(np.log(2), abs=1e-5)
  assert steps[-1]['dpo/margin'] > 0.01
  assert steps[-1]['dpo/accuracy'] > 0.5
  assert steps[-1]['dpo/loss'] < steps[0]['dpo/loss']
  for row in steps:
    gap = row['dpo/preferred_reward'] - row['dpo/rejected_reward']
    assert gap == pytest.approx(row['dpo/margin'], abs=1e-5)


def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path):
  context = _context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted, match='dpo: saved after step 1'):
    dpo.train(context, None)
  again = _context(tmp_path)
  _same(dpo.train(again, None), whole[0])
  assert _rows(again.workdir) == _rows(whole[1])


def test_batches(tmp_path):
  """18 pairs in 6 batches of 3; each pair in one row, side by side."""
  context = _context(tmp_path)
  pairs = dpo._pairs(context, None, False)
  batches = dpo.make_batches(context, pairs)
  assert len(batches) == 6
  seen = 0
  for batch in batches:
    # Rows of two prompts and responses of 16 tokens; 3 pairs in any case.
    assert batch.tokens.shape == (4, 64)
    assert batch.pg_weight.shape == (4, 6)
    assert batch.pg_weight[:, 0::2].sum() == pytest.approx(1)
    np.testing.assert_array_equal(
      batch.pg_weight[:, 0::2], batch.pg_weight[:, 1::2]
    )
    for row in range(batch.num_rows):
      for pair in np.flatnonzero(batch.pg_weight[row, 0::2]):
        lengths = [
          int(batch.loss_mask[row, batch.segment_ids[row] == s].sum())
          for s in (2 * pair + 1, 2 * pair + 2)
        ]
        assert lengths[0] == 2 and lengths[1] in (3, 4, 5)
        seen += 1
  assert seen == 18


def test_nothing_to_prefer(tmp_path):
  with pytest.raises(conversations.DataError, match='0 pairs'):
    dpo.make_batches(_context(tmp_path), [])


def test_every_batch_once_an_epoch():
  order = [dpo.batch_of(step, 4, seed=0) for step in range(12)]
  for epoch in range(3):
    assert sorted(order[4 * epoch : 4 * epoch + 4]) == [0, 1, 2, 3]
  assert order[:4] != order[4:8] or order[4:8] != order[8:]


def test_pairs_are_packed_side_by_side():
  """By hand: pairs of 3 + 4, 5 + 2 and 1 + 1 tokens in rows of 9."""

  def sequence(start, length):
    tokens = np.arange(start, start + length, dtype=np.int32)
    return Sequence(tokens[:1], tokens[1:], np.ones(length - 1, bool))

  pairs = [
    (sequence(10, 3), sequence(20, 4)),
    (sequence(30, 5), sequence(40, 2)),
    (sequence(50, 1), sequence(60, 1)),
  ]
  batch = batching.pack_pairs(pairs, num_rows=2, row_length=9, max_pairs=2)
  np.testing.assert_array_equal(
    batch.tokens,
    [
      [10, 11, 12, 20, 21, 22, 23, 50, 60],
      [30, 31, 32, 33, 34, 40, 41, 0, 0],
    ],
  )
  np.testing.assert_array_equal(
    batch.segment_ids,
    [[1, 1, 1, 2, 2, 2, 2, 3, 4], [1, 1, 1, 1, 1, 2, 2, 0, 0]],
  )
  with pytest.raises(ValueError, match='6 sequences of 16 tokens need 2 rows'):
    batching.pack_pairs(pairs, num_rows=1, row_length=9, max_pairs=2)
