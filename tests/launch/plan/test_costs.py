"""Formulas against sums by hand, the policy itself and model cards.

Times from round numbers.
"""

import jax
import pytest
from ml_collections import config_dict

from experiments import base
from experiments import shapes
from k15.config import checks
from k15.data import arithmetic
from k15.model import policy
from k15.runtime import context
from launch.plan import chips
from launch.plan import costs

# D = 8, H = 4, N = 2, h = 2, F = 16, V = 32, L = 2.
P = policy.PolicyConfig(
  vocab_size=32,
  num_layers=2,
  d_model=8,
  num_heads=4,
  num_kv_heads=2,
  head_dim=2,
  d_ff=16,
  qk_norm=False,
)


def test_by_hand():
  # q 8 * 8, k and v 8 * 4 each, o 8 * 8, and three of 8 * 16.
  assert costs.layer_weights(P) == 64 + 32 + 32 + 64 + 3 * 128 == 576
  # Two layers with two norms of 8, the embedding, the last norm.
  assert costs.num_params(P) == 2 * (576 + 16) + 32 * 8 + 8 == 1448
  # 2 * (2 * 576 + 256) a token.
  assert costs.weight_flops(P, 3) == 3 * 2816
  # Rows of 3 tokens have 1 + 2 + 3 pairs, each 2 h for its score and 2 h for
  # its value in each of 2 layers and 4 heads.
  assert costs.causal_pairs(3) == 6
  assert costs.attention_flops(P, 6) == 2 * 4 * 8 * 6
  assert costs.forward_flops(P, 1, 3) == 8448 + 384
  assert costs.prefill_flops(P, 1, 3) == 8832 - 3 * 2 * 256
  assert costs.decode_flops(P, 5, 7) == 5 * (2816 + 64 * 7)


@pytest.mark.parametrize('changes', [{}, dict(qkv_bias=True, qk_norm=True)])
@pytest.mark.parametrize('is_tied', [False, True])
def test_the_policy_has_so_many_parameters(changes, is_tied):
  p = policy.PolicyConfig(**{**vars(P), 'tie_embeddings': is_tied, **changes})
  made = policy.boxed(p)
  assert costs.num_params(p) == sum(x.size for x in jax.tree.leaves(made))


@pytest.mark.parametrize(
  'name, billions',
  [
    # "Number of Parameters" of the model cards; Llama's from its paper's
    # repository, 8,030,261,248.
    ('qwen25_1p5b', 1.54),
    ('qwen25_7b', 7.61),
    ('qwen25_32b', 32.5),
    ('qwen25_72b', 72.7),
    ('qwen3_8b', 8.2),
    ('llama31_8b', 8.03),
  ],
)
def test_published_shapes_have_the_published_size(name, billions):
  p = config_dict.ConfigDict()
  shapes.SHAPES[name](p)
  p = policy.PolicyConfig(**p)
  assert costs.num_params(p) == pytest.approx(billions * 1e9, rel=0.01)


@pytest.mark.parametrize(
  'name, parameters',
  [
    # Half the `total_size` of each model.safetensors.index.json, of bfloat16;
    # of 2B, which is one file, what transformers counts.
    ('qwen3_vl_2b', 2127532032),
    ('qwen3_vl_4b', 4437815808),
    ('qwen25_vl_3b', 3754622976),
    ('qwen25_vl_7b', 8292166656),
  ],
)
def test_published_shapes_that_see_have_the_published_size(name, parameters):
  config = base.get_config()
  config.stages = ('rl',)
  shapes.SEEING[name](config)
  checks.validate(config, 1, arithmetic.KINDS)
  p = context.make_layout(config, context.make_tokenizer(config)).shape
  assert costs.num_params(p) == parameters
  made = policy.boxed(p)
  assert costs.num_params(p) == sum(x.size for x in jax.tree.leaves(made))


CHIP = chips.Chip('x', 1e12, 1, 1e9, 6e9, 3, (1, 1, 1), 8)
P_ROOFLINE = policy.PolicyConfig(
  vocab_size=32,
  num_layers=2,
  d_model=8,
  num_heads=4,
  num_kv_heads=2,
  head_dim=2,
  d_ff=16,
)
HALF = costs.Assumptions(0.5, 0.5, 0.5, 0.5, latency=1e-3)


def test_the_longest_of_three():
  time = costs.Time(compute=1, memory=3, network=2)
  assert time.seconds == 3 and time.bound == 'HBM'


def test_collectives_use_one_direction_of_one_dimension():
  # 6 GB/s are 1 GB/s there; half of it is reached, and each costs 1 ms.
  assert costs.network_seconds(CHIP, 1e9, 10, HALF) == pytest.approx(2.01)


def test_the_last_part_of_a_row_works_longest():
  # Rows of 4 tokens in 2 parts: 1 + 2 pairs and 3 + 4, a mean of 5.
  assert costs.context_imbalance(1) == 1
  assert costs.context_imbalance(2) == 1.5  # 7 / 5 for rows without end


def test_whole_rows():
  # Forward and backward at half the peak of two chips.
  work = 3 * costs.forward_flops(P_ROOFLINE, 2, 3)
  seconds = costs.whole_rows(CHIP, P_ROOFLINE, 2, 3, 1, 2, 3, 0.5)
  assert seconds == pytest.approx(work / 1e12)


def test_decode_step():
  time = costs.decode_step(CHIP, P_ROOFLINE, 4, 10, 2, 1e9, HALF)
  assert time.memory == 2.0
  assert time.compute == pytest.approx(
    costs.decode_flops(P_ROOFLINE, 4, 10) / 1e12
  )


def test_an_iteration():
  work = costs.Iteration(
    responses=10, length=90, prompt=10, budget=40, row_length=200, updates=4
  )
  assert work.rows(0.5) == 10  # 1,000 tokens in rows that hold 100 each
  # 40 + 40 + 10 tokens: cut twice, at 40 and 80 tokens after 10.
  assert work.resumes == 2
  assert work.resumed_length == 10 + 60
