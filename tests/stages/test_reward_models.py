"""The value head learns its labels, and goes on after an interruption."""

import flax.linen as nn
import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15.devices import hosts
from k15.model import heads
from k15.model import policy
from k15.rewards import reward_model
from k15.runtime import context as context_lib
from k15.runtime import model_judges
from k15.stages import reward_models
from k15.training import optimizer as optimizer_lib

# Correct is what ends in a 1: any trunk can learn that.
EXAMPLES = [
  reward_models.Judged(
    np.array([5, 7 + i, 48 + i % 2], np.int32),
    i % 2 == 1,
    np.array([60, 61 + i % 2], np.int32),
  )
  for i in range(20)
]
CHANGES = dict(
  classic_rm__optimizer='adam',
  classic_rm__learning_rate=0.03,
  classic_rm__warmup_steps=1,
  classic_rm__log_every=1,
  classic_rm__batch_tokens=128,
  classic_rm__steps=12,
  reward_model__max_prompt_length=16,
  reward_model__max_length=4,
)


def make_context(folder, **changes):
  return small_run.make_context(folder, **(CHANGES | changes))


def make_value(context, params, rows):
  encode = context.task.tokenizer.begin
  return model_judges.make_value(context.shape, params, encode, 16, rows)


def same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def rows_of(folder):
  rows = files.read_jsonl(folder / 'metrics.jsonl')
  return [
    {k: v for k, v in row.items() if not k.startswith('time')} for row in rows
  ]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  context = make_context(tmp_path_factory.mktemp('reward'))
  return context, reward_models.train(context, EXAMPLES)


def test_it_learns_the_labels(whole):
  losses = [row['value/loss'] for row in rows_of(whole[0].workdir)]
  assert len(losses) == 12
  # A new head says 0, so the first loss is log 2.
  assert losses[0] == pytest.approx(np.log(2), abs=1e-5)
  assert losses[-1] < 0.2


def test_the_trained_model_judges(whole):
  context, state = whole
  value = make_value(context, state.params, rows=4)
  prompts = [chr(5) + chr(7 + i) + chr(48 + i % 2) for i in range(6)]
  values = value(prompts)
  assert [v > 0 for v in values] == [False, True] * 3
  # One at a time or many, padded or not: the same.
  np.testing.assert_allclose(value(prompts[:1]), values[:1], rtol=1e-5)
  verdicts = reward_model.judge_by_value(
    [('', '', '')] * 2, lambda _: values[:2]
  )
  assert [verdict.kind for verdict in verdicts] == ['wrong', 'correct']


def test_too_long_a_prompt_is_an_error_and_the_others_are_judged(whole):
  context, state = whole
  value = make_value(context, state.params, rows=2)
  row = context.config.reward_model.max_prompt_length
  values = value(['a1', 'a' * (row + 1), 'a' * row])
  assert np.isnan(values).tolist() == [False, True, False]
  verdicts = reward_model.judge_by_value([('', '', '')] * 3, lambda _: values)
  assert verdicts[1].reason == 'not_finite: value nan'


def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path):
  context = make_context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted, match='saved after step 1'):
    reward_models.train(context, EXAMPLES)
  again = make_context(tmp_path)
  same(reward_models.train(again, EXAMPLES), whole[1])
  assert rows_of(again.workdir) == rows_of(whole[0].workdir)


def test_it_begins_with_a_given_trunk(whole, tmp_path):
  # At a rate of almost nothing it stays what it is.
  context = make_context(
    tmp_path,
    classic_rm__steps=1,
    classic_rm__warmup_steps=0,
    classic_rm__learning_rate=1e-30,
    classic_rm__end_learning_rate=1e-30,
  )
  trunk = jax.tree.map(np.asarray, whole[1].params['trunk'])
  state = reward_models.train(
    context, EXAMPLES, lambda: jax.tree.map(jax.numpy.array, trunk)
  )
  same(heads.split(state)[0].params, trunk)
  assert state.params.keys() == {'trunk', 'head'}


def test_texts_are_learnt_beside_labels_and_values_do_not_see_them(tmp_path):
  context = make_context(tmp_path, classic_rm__text_weight=1.0)
  state = reward_models.train(context, EXAMPLES)
  rows = rows_of(tmp_path / 'run')
  texts = [row['value/text_loss'] for row in rows]
  # A new policy knows nothing of its words.
  assert texts[0] == pytest.approx(np.log(context.shape.vocab_size), abs=0.5)
  assert texts[-1] < 0.6 * texts[0]
  batch = reward_models._batch(context, EXAMPLES, 0)
  assert batch.tokens.shape[1] == 16 + 4
  assert set(batch.lengths) == {3} and set(batch.used) == {5}
  values = heads.values(
    context.shape, state.params, batch.tokens, batch.lengths, batch.used
  )
  alone = make_value(context, state.params, 4)
  np.testing.assert_allclose(
    values[:2],
    alone([bytes(t[:3]).decode() for t in batch.tokens[:2].tolist()]),
    rtol=1e-4,
  )


def test_each_example_comes_once_an_epoch(whole):
  # Rows of 16 tokens, 128 a step: 8 a step, 40 in 5 steps, two epochs of 20.
  seen = [
    int(tokens[1])
    for step in range(5)
    for tokens in reward_models._batch(whole[0], EXAMPLES, step).tokens
  ]
  assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(7, 27))
  assert seen[:20] != seen[20:]


def test_refusals(tmp_path):
  context = make_context(tmp_path)
  with pytest.raises(ValueError, match='0 examples'):
    reward_models.train(context, [])
  long = [reward_models.Judged(np.zeros(17, np.int32), True)]
  with pytest.raises(ValueError, match='17 tokens in a row of 1 to 16'):
    reward_models.train(context, long)
  small = make_context(tmp_path, classic_rm__batch_tokens=15)
  with pytest.raises(ValueError, match='batch_tokens is 15, less than one row'):
    reward_models.train(small, EXAMPLES)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
  context = make_context(
    tmp_path, classic_rm__learning_rate=1e38, optimizer__clip_norm=0.0
  )
  with pytest.raises(
    FloatingPointError, match='classic_rm step 2: loss'
  ) as error:
    reward_models.train(context, EXAMPLES)
  path = context.workdir / 'failed-classic_rm-2.npz'
  assert str(path) in str(error.value)
  with np.load(path) as batch:
    assert batch['labels'].shape == batch['lengths'].shape == (8,)


def test_every_host_is_asked_to_stop(monkeypatch, tmp_path):
  # Another process was: this one saves at the same step.
  monkeypatch.setattr(hosts, 'any_of', lambda value: True)
  context = make_context(tmp_path)
  with pytest.raises(context_lib.Interrupted, match='saved after step 1'):
    reward_models.train(context, EXAMPLES)


def test_rows_over_a_mesh_learn_the_same(whole, tmp_path):
  context = make_context(tmp_path, mesh__fsdp=2)
  state = reward_models.train(context, EXAMPLES)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4),
    state.params['head'],
    whole[1].params['head'],
  )


def test_the_head_is_a_matrix_that_muon_leaves_to_adam():
  shape = policy.PolicyConfig(
    vocab_size=8, num_layers=1, d_model=8, num_heads=1, num_kv_heads=1,
    head_dim=8, d_ff=8,
  )  # fmt: skip
  trunk = nn.unbox(
    jax.jit(policy.init, static_argnums=0)(shape, jax.random.key(0))
  )
  params = heads.init_value(shape, trunk)
  axes = heads.value_axes(policy.logical_axes(shape))
  optimizer = optimizer_lib.make('muon', 0.9, 0.95, 1e-8, 0.1, 0.0, axes)
  ones = jax.tree.map(np.ones_like, params)
  state = optimizer_lib.init_state(optimizer, ones)
  state = optimizer_lib.apply(
    optimizer, optimizer_lib.constant_schedule(0.1, 0), state, ones
  )
  head = jax.tree.map(np.asarray, state.params['head'])
  # The same gradient: apart by the decay of the matrix alone, 0.1 * 0.1 * 1.
  np.testing.assert_allclose(head['bias'] - head['kernel'][0], 0.01, rtol=1e-4)
