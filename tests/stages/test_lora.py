"""Stages that train adapters: resumed bit for bit, merged into what they leave.

Everything else about them is as without: the tests of each stage say it.
"""

import functools
import json

import jax
import numpy as np
import pytest
import small_run
import thorough
from safetensors.numpy import load_file

from k15 import recipe
from k15.model import lora
from k15.rewards.verdict import Verdict
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import weights
from k15.stages import collection
from k15.stages import dpo
from k15.stages import reward_models
from k15.stages import sft
from k15.stages.rl import loop
from k15.stages.rl import on_the_way
from k15.stages.rl import setup

ADAPTERS = dict(policy__lora_rank=2, policy__lora_alpha=8.0)
RL = dict(
  rollout__token_budget=16, reward__cut_is_wrong=False,
  loss__method='grpo', loss__grpo_beta=0.1, loss__grpo_reference_interval=3,
  rl__iterations=2, optimizer__offload=True,
  optimizer__reset_every_iteration=False,
)  # fmt: skip
CHANGES = dict(
  sft=dict(sft__optimizer='muon'),
  rl=RL,
  dpo=dict(
    long2short__problems=4, dpo__steps=3, dpo__batch_pairs=3,
    dpo__warmup_steps=1, dpo__learning_rate=0.01,
  ),
  classic_rm=dict(
    classic_rm__optimizer='adam', classic_rm__learning_rate=0.03,
    classic_rm__warmup_steps=1, classic_rm__batch_tokens=128,
    classic_rm__steps=3, reward_model__max_prompt_length=16,
  ),
)  # fmt: skip
EXAMPLES = [
  reward_models.Judged(np.array([5, 7 + i, 48 + i % 2], np.int32), i % 2 == 1)
  for i in range(20)
]


def _judge(response, reference):
  del reference
  return Verdict('correct' if len(response) % 2 else 'wrong')


def _collected(context, model, num_problems, samples):
  """Two responses to each problem: 2 tokens, right, and 5, wrong."""
  del model, samples
  rng = np.random.default_rng(0)
  return [
    (
      problem,
      [
        collection.Response(rng.integers(0, 250, n).astype(np.int32), n == 2)
        for n in (2, 5)
      ],
    )
    for problem in context.task.train[:num_problems]
  ]


@pytest.fixture(autouse=True)
def _outside(monkeypatch):
  """What random weights can earn and be preferred for."""
  judge = lambda config, names, *_: dict.fromkeys(names, _judge)  # noqa: E731
  monkeypatch.setattr(judges, 'make_judges', judge)
  monkeypatch.setattr(collection, 'collect', _collected)


def _context(folder, stage, **changes):
  changes = ADAPTERS | CHANGES[stage] | changes
  return small_run.make_context(folder, **changes)


def _train(context, stage):
  make_params = functools.partial(weights.init_params, context.layout, 0)
  if stage == 'classic_rm':
    return reward_models.train(context, EXAMPLES)
  if stage == 'dpo':
    return dpo.train(context, None)
  train = sft.train if stage == 'sft' else loop.train
  return train(context, make_params, stage)


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize(
  'stage', thorough.after(['sft', 'rl', 'dpo', 'classic_rm'], 2)
)
def test_a_stage_goes_on_bit_for_bit(stage, tmp_path):
  context = _context(tmp_path / 'whole', stage)
  whole = _train(context, stage)
  first = _context(tmp_path / 'cut', stage)
  if stage == 'rl':
    first.config.rl.iterations = 1
    _train(first, stage)
  else:
    first.stop.set()
    with pytest.raises(context_lib.Interrupted, match='saved after step 1'):
      _train(first, stage)
  again = _context(tmp_path / 'cut', stage)
  _same(_train(again, stage), whole)
  finished = _context(tmp_path / 'cut', stage)
  _same(_train(finished, stage), whole)
  # What is frozen was never touched, and is in no checkpoint.
  frozen = whole.frozen['trunk'] if stage == 'classic_rm' else whole.frozen
  _same(frozen, weights.init_params(context.layout, 0))
  names = small_run.saved_arrays(again, stage)
  assert any('q_lora' in name for name in names)
  assert not any('embedding' in name or "['q']" in name for name in names)
  moved = jax.tree.leaves(lora.joined(None, whole.params))
  assert all(np.any(x) for x in moved)  # B began at 0.


def test_weights_are_merged_once_a_version(tmp_path, monkeypatch):
  context = _context(tmp_path, 'rl')
  params = weights.init_params(context.layout, 0)
  before = jax.tree.map(np.asarray, params)
  stage, merged = setup.begin(context, params), []
  whole = weights.whole
  monkeypatch.setattr(
    weights, 'whole', lambda *args: merged.append(1) or whole(*args)
  )
  stage.hand_over(0, label=0)
  _same(stage.handover.params, before)  # pi_theta_0 is the model before.
  with context.layout.use_mesh():
    loop.run_iteration(stage, 0)
    assert len(merged) == 1
    on_the_way.evaluate(stage, 1)
    loop.run_iteration(stage, 1)
  assert len(merged) == 2 and stage.handover.version == 1
  stage.hand_over(2, label=2)
  _same(stage.handover.params, whole(context.shape, stage.state))
  stage.rollout.close()


def test_a_run_leaves_merged_models_and_adapters_between_them(tmp_path):
  context = _context(
    tmp_path, 'rl', stages=('sft', 'rl'), rl__iterations=1,
    optimizer__learning_rate=0.01,
  )  # fmt: skip
  recipe.run(context)
  models = context.workdir / 'models'
  before = load_file(models / 'sft/model.safetensors')
  after = load_file(models / 'rl/model.safetensors')
  pairs = load_file(models / 'rl/adapters/adapter_model.safetensors')
  config = json.loads((models / 'rl/adapters/adapter_config.json').read_text())
  assert config['base_model_name_or_path'] == str(models / 'sft')
  assert (config['r'], config['lora_alpha']) == (2, 8.0)
  changed = set()
  for name, tensor in before.items():
    module = f'base_model.model.{name.removesuffix(".weight")}'
    if f'{module}.lora_A.weight' in pairs:
      b, a = (pairs[f'{module}.lora_{x}.weight'] for x in 'BA')
      tensor = tensor + 8 / 2 * b @ a
      changed.add(name.split('.')[-2])
    np.testing.assert_allclose(after[name], tensor, atol=1e-6)
  assert len(pairs) == 2 * 7 and changed == set(config['target_modules'])
  first = json.loads((models / 'sft/adapters/adapter_config.json').read_text())
  assert first['base_model_name_or_path'] is None  # Random weights.
