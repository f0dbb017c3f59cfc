"""The warm-up learns, and goes on after an interruption bit for bit."""

import jax
import numpy as np
import pytest
import small_run

from k15 import context as context_lib
from k15 import files
from k15 import run_weights
from k15 import sft


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def _rows(folder):
  return [
    {k: v for k, v in r.items() if not k.startswith('time')}
    for r in files.read_jsonl(folder / 'metrics.jsonl')
  ]


def _train(context):
  return sft.train(context, lambda: run_weights.init_params(context.layout, 0))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Four steps in one go: the last state, and the folder."""
  folder = tmp_path_factory.mktemp('sft')
  context = small_run.make_context(folder, sft__learning_rate=0.03)
  return _train(context), context.workdir


def test_the_loss_falls(whole):
  losses = [r['sft/loss'] for r in _rows(whole[1]) if 'sft/loss' in r]
  assert len(losses) == 4
  assert losses[-1] < losses[0] - 0.1


def test_logged_numbers(whole):
  rows = _rows(whole[1])
  assert rows[0] == {
    'stage': 'sft', 'step': 0, 'sft/examples': 26, 'sft/examples_dropped': 0
  }  # fmt: skip
  assert [r['step'] for r in rows] == [0, 0, 1, 2, 3]
  for row in rows[1:]:
    assert row['sft/tokens'] > 0
    assert 0 <= row['sft/token_accuracy'] <= 1
    # Near log 320, the vocabulary, when nothing is learnt yet.
    assert 0 < row['sft/entropy'] <= 6.0


def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path):
  context = small_run.make_context(tmp_path, sft__learning_rate=0.03)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted, match='saved after step 1'):
    _train(context)
  again = small_run.make_context(tmp_path, sft__learning_rate=0.03)
  _same(_train(again), whole[0])
  assert _rows(again.workdir) == _rows(whole[1])


def test_a_finished_stage_is_not_done_again(whole):
  state, workdir = whole
  before = (workdir / 'metrics.jsonl').read_bytes()
  context = small_run.make_context(workdir.parent, sft__learning_rate=0.03)
  _same(_train(context), state)
  assert (workdir / 'metrics.jsonl').read_bytes() == before


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
  context = small_run.make_context(
    tmp_path, sft__learning_rate=1e38, optimizer__clip_norm=0.0
  )
  with pytest.raises(FloatingPointError, match='sft step 1: loss') as error:
    _train(context)
  path = context.workdir / 'failed-sft-1.npz'
  assert str(path) in str(error.value)
  with np.load(path) as batch:
    assert batch['loss_mask'].sum() > 0
    assert batch['tokens'].shape == batch['ref_logprobs'].shape
