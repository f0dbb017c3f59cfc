"""Stages that train a part of a policy that sees, and leave the rest alone.

Kimi k1.5, appendix B.4, trains the tower in isolation first.
"""

import functools
import threading

import jax
import numpy as np
import pytest
import small_run
import small_sight
import thorough

from k15.model import policy
from k15.rewards.verdict import Verdict
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import weights
from k15.stages import sft
from k15.stages.rl import features
from k15.stages.rl import loop
from k15.stages.rl import setup

RL = dict(
  rollout__token_budget=24, reward__cut_is_wrong=False, rl__iterations=2,
  loss__method='grpo', loss__grpo_beta=0.1, loss__grpo_reference_interval=3,
  optimizer__offload=True, optimizer__reset_every_iteration=False,
  optimizer__learning_rate=0.01,
)  # fmt: skip
STAGES = {
  ('pretrain_tower', 'vision'): dict(
    stages=('pretrain_tower',), pretrain_tower__learning_rate=0.01
  ),
  ('pretrain_joint', 'text'): dict(
    stages=('pretrain_joint',), pretrain_joint__trains='text',
    pretrain_joint__image_ramp=0.0, pretrain_joint__optimizer='muon',
  ),
  ('rl', 'vision'): RL | dict(stages=('rl',), rl__trains='vision'),
  ('rl', 'text'): RL | dict(stages=('rl',), rl__trains='text'),
}  # fmt: skip
CASES = pytest.mark.parametrize(
  ('stage', 'part'),
  thorough.but([*STAGES], [('pretrain_tower', 'vision'), ('rl', 'vision')]),
  ids=lambda name: name,
)


@pytest.fixture(autouse=True)
def _earned(monkeypatch):
  """What random weights can earn."""

  def judge(response, reference):
    del reference
    return Verdict('correct' if len(response) % 2 else 'wrong')

  make = lambda config, names, *_: dict.fromkeys(names, judge)  # noqa: E731
  monkeypatch.setattr(judges, 'make_judges', make)


def context_of(folder, stage, part, **changes):
  return small_sight.make_context(folder, **STAGES[stage, part] | changes)


def train(context, stage):
  """By the model that is drawn of the config's seed."""
  draw = functools.partial(weights.load_params, context, None)
  if stage == 'rl':
    return loop.train(context, draw)
  return sft.train(context, draw, stage)


def same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


@CASES
def test_only_the_part_is_trained_and_saved(stage, part, tmp_path):
  context = context_of(tmp_path / 'whole', stage, part)
  whole = train(context, stage)
  before = jax.device_get(weights.init_params(context.layout, 0))
  after = jax.device_get(weights.whole(context.shape, whole))
  assert before.keys() == after.keys()
  for name in before:
    is_trained = (name == policy.VISION) == (part == 'vision')
    if not is_trained:
      same(before[name], after[name])
    for a, b in zip(*map(jax.tree.leaves, (before[name], after[name])),
                    strict=True):  # fmt: skip
      assert (a != b).any() == is_trained, name
  # No moments of what is frozen, on devices and on disk.
  state = jax.tree_util.tree_leaves_with_path((whole.params, whole.opt_state))
  names = {jax.tree_util.keystr(path) for path, _ in state}
  for found in (names, small_run.saved_arrays(context, stage)):
    arrays = {name for name in found if name.count('[') > 1}
    of_tower = {name for name in arrays if "'vision'" in name}
    of_text = {name for name in arrays if "'embedding'" in name}
    assert bool(of_tower) == (part == 'vision')
    assert bool(of_text) == (part == 'text')
  if (stage, part) == ('rl', 'text'):
    return
  # It goes on bit for bit, from the model that it began with.
  first = context_of(tmp_path / 'cut', stage, part)
  if stage == 'rl':
    first.config.rl.iterations = 1
    train(first, stage)
  else:
    first.stop.set()
    with pytest.raises(context_lib.Interrupted, match='saved after step 1'):
      train(first, stage)
  again = context_of(tmp_path / 'cut', stage, part)
  same(train(again, stage), whole)


def trained_on(folder, num_devices, stage, **mesh):
  """Whole parameters after a stage, on the first of the devices."""
  folder.mkdir(exist_ok=True)
  config = small_run.make_config(
    folder, **small_sight.changes_of(**STAGES[stage]),
    policy__num_heads=2, optimizer__micro_batch_rows=2,
    **{f'mesh__{axis}': size for axis, size in mesh.items()},
  )  # fmt: skip
  devices = jax.devices()[:num_devices]
  make_layout = context_lib.make_layout
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      context_lib, 'make_layout',
      lambda config, tokenizer: make_layout(config, tokenizer, devices),
    )  # fmt: skip
    context = context_lib.make(config, folder / 'run', threading.Event())
  state = train(context, stage[0])
  found = {d for x in jax.tree.leaves(state) for d in x.devices()}
  assert found == set(devices)
  return jax.device_get(weights.whole(context.shape, state))


@pytest.mark.parametrize(
  'stage',
  thorough.after([*STAGES][:2], 0, whole=True),
  ids=lambda names: names[0],
)
def test_over_four_devices_as_on_one(stage, tmp_path):
  one = trained_on(tmp_path / 'one', 1, stage, fsdp=1)
  four = trained_on(tmp_path / 'four', 4, stage, fsdp=2, tensor=2)
  for a, b in zip(*map(jax.tree.leaves, (one, four)), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.parametrize(
  ('row_responses', 'trains'), [(0, 'all'), (2, 'text')]
)
def test_training_computes_the_log_probabilities_of_the_rollout(
  row_responses, trains, tmp_path, monkeypatch
):
  """Through the whole path, prompts of a group shared or not.

  A frozen tower has looked before: to the bit it is as if each update did.
  """
  context = small_sight.make_context(
    tmp_path, stages=('rl',), rollout__token_budget=24, rl__trains=trains,
    reward__cut_is_wrong=False, rl__row_responses=row_responses,
  )  # fmt: skip
  stage = setup.begin(context, weights.load_params(context, None))
  looked_at, steps, step, put = [], [], stage.step, features.put

  def looking(stage, batches):
    looked_at.extend(batches)
    return put(stage, batches)

  def remembering(state, batch, *args):
    before = jax.tree.map(lambda x: x.copy(), state)
    after, values = step(state, batch, *args)
    steps.append((before, batch, args, jax.device_get(after)))
    return after, values

  monkeypatch.setattr(features, 'put', looking)
  stage.step = remembering
  with context.layout.use_mesh():
    stage.hand_over(0, label=0)
    loop.run_iteration(stage, 0)
    before, batch, args, after = steps[0]
    params = stage.joined(before.params)
    found = np.asarray(stage.logprobs(params, batch))
    assert (batch.features is not None) == (trains == 'text')
    if trains == 'text':
      assert batch.images.patches is None
      patches = context.layout.place_rows(looked_at[0])
      same(np.asarray(stage.logprobs(params, patches)), found)
      same(jax.device_get(step(before, patches, *args)[0]), after)
  stage.rollout.close()
  expected = jax.device_get(batch.behavior_logprobs)
  in_loss = np.asarray(batch.loss_mask) > 0
  assert in_loss.sum() > 20 and looked_at[0].images.numbers.any()
  assert (batch.prompt_ids is not None) == (row_responses > 0)
  np.testing.assert_allclose(
    found[in_loss], expected[in_loss], rtol=0, atol=2e-6
  )
