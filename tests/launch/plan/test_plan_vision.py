"""Plans of policies that see, compiled for a TPU, and their parts by hand."""

import jax
import pytest
import thorough
from small_plan import needs_libtpu
from small_plan import tiny_config
from small_plan import use

from k15.config import checks
from k15.data import arithmetic
from launch.plan import __main__ as plan
from launch.plan import chips
from launch.plan import costs
from launch.plan import programs as programs_lib
from launch.plan import table
from launch.plan import times as times_lib
from launch.plan import topologies

PATCHES = 256  # the largest bucket, and the room of a row


def seeing_config(family='qwen2_5_vl'):
  """The tiny one, with a tower of two blocks: 64 tokens are a picture."""
  config = tiny_config()
  config.stages = ('rl',)
  config.policy.update(qkv_bias=True, qk_norm=False)
  config.vision.update(
    enabled=True, family=family, num_layers=2, width=32, num_heads=2, d_ff=64,
    patch_size=4, merge_size=2, temporal_size=2, window=2, full_layers=(1,),
    mrope_section=(2, 3, 3), min_pixels=64, max_pixels=4096,
    patch_buckets=(64, PATCHES), row_patches=PATCHES, cache_bytes=1 << 20,
  )  # fmt: skip
  if family == 'qwen3_vl':
    config.policy.update(qkv_bias=False, qk_norm=True)
    config.vision.update(mrope_section=(4, 2, 2), deepstack=(0, 1))
  config.rollout.max_prompt_length = 96
  return config


def make_run(config):
  checks.validate(config, 4, arithmetic.KINDS)
  return programs_lib.make_run(config, jax.devices()[:4])


@pytest.fixture
def with_least_effort():
  """As `--quick`: what takes longest is no matter here."""
  before = jax.config.jax_exec_time_optimization_effort
  jax.config.update('jax_exec_time_optimization_effort', -1.0)
  yield
  jax.config.update('jax_exec_time_optimization_effort', before)


@needs_libtpu
@pytest.mark.parametrize(
  'family', thorough.after(['qwen3_vl', 'qwen2_5_vl'], 0)
)
def test_all_programs_compile_for_a_tpu(family, with_least_effort):
  config, topology = seeing_config(family), chips.parse('v5e:2x2')
  checks.validate(config, topology.num_chips, arithmetic.KINDS)
  run = programs_lib.make_run(config, topologies.devices(topology))
  uses = list(plan._uses(run, topology.chip))
  programs = {one.program.name: one.program for one in uses}
  assert list(programs) == [
    'encode', 'prefill', 'insert', 'generate', 'update', 'ref_logprobs',
  ]  # fmt: skip
  assert all(one.over < 0 for one in uses)
  tower = programs_lib.bytes_per_chip(run.rollout_parts[1])
  assert programs['encode'].arguments >= tower > 0
  times = times_lib.of_iteration(run, topology, uses, length=100)
  assert [phase.name for phase in times.phases] == [
    'hand-over', 'encode', 'prefill', 'decode', 'ref_logprobs', 'update',
  ]  # fmt: skip
  assert all(phase.seconds > 0 for phase in times.phases)
  assert f'tokens and {PATCHES} patches a' in table.header(run, topology)
  assert 'prompts of 256 patches' in table.iteration(times)


def test_rows_of_training_have_pictures():
  run = make_run(seeing_config())
  images = programs_lib.batch(run).images
  rows, columns = programs_lib.batch(run).tokens.shape
  assert images.patches.shape == (rows, PATCHES, 3 * 4 * 4)
  assert images.positions.shape == (rows, columns, 3)
  # Rows are split over fsdp.
  assert images.patches.sharding.shard_shape((rows, 1, 1))[0] == rows // 2
  assert programs_lib.batch(make_run(tiny_config())).images is None


def test_patches_that_make_no_token_are_refused():
  config = seeing_config()
  config.vision.row_patches = PATCHES + 2
  with pytest.raises(ValueError, match='vision.row_patches is 258, and 4'):
    make_run(config)


def test_features_and_the_tower_lie_beside_what_decodes():
  run = make_run(seeing_config())
  size, cache = programs_lib.bytes_per_chip, 1 << 20
  text, tower = map(size, run.rollout_parts)
  held = {
    name: plan.held_bytes(run, name, slot_bytes=1000)
    for name in ('encode', 'prefill', 'insert', 'generate')
  }
  kept = size(run.state.opt_state) + size(run.state.params) + cache
  assert tower > 0 and held == dict(
    encode=kept + text + 1000,
    prefill=kept + tower + 1000,
    insert=kept + text + tower,
    generate=kept + tower,
  )


@pytest.mark.parametrize('trains', ['vision', 'text'])
def test_of_what_is_frozen_there_are_no_moments(trains):
  config = seeing_config()
  config.mesh.update(fsdp=2, context=1, tensor=2)
  config.rollout.mesh = ()
  size, whole = programs_lib.bytes_per_chip, make_run(config)
  assert whole.shares_weights and times_lib._passes(whole) == (3, 3)
  config.rl.trains = trains
  run = make_run(config)
  trained, frozen = size(run.state.params), size(run.state.frozen)
  assert trained + frozen == size(whole.state.params)
  assert size(run.state.opt_state) == 2 * trained + 4
  # A tower that is frozen has looked before: its features, in float32.
  batch = programs_lib.batch(run)
  assert (batch.features is None) == (batch.images.patches is not None)
  assert run.looks_once == (trains == 'text') == (batch.features is not None)
  # The rollout reads what is frozen, and what is trained, where it lies.
  assert run.shares_weights
  expected = {'vision': (2, 3), 'text': (3, 0)}
  assert times_lib._passes(run) == expected[trains]
  config.rl.trains, config.policy.lora_rank = 'all', 4
  assert times_lib._passes(make_run(config)) == (2, 0)


def test_it_says_what_makes_rows_smaller():
  uses = [use(80, held=30), use(20, name='encode')]
  assert 'a smaller vision.row_patches.' in table.verdict(uses)
  assert 'row_patches' not in table.verdict(uses[:1])


def test_work_of_a_tower_by_hand():
  # A block: 4 * 32^2 and three of 32 * 64; the embedding of a patch 48 * 32;
  # the merger of 4 patches 128 * (128 + 32).
  shape = make_run(seeing_config()).layout.shape
  weights = 2 * (4 * 32**2 + 3 * 32 * 64) + 48 * 32
  products = 2 * (PATCHES * weights + PATCHES // 4 * 128 * 160)
  # One block sees all patches, and one a window of 4 * 4 of them.
  attention = 4 * 32 * (PATCHES**2 + PATCHES * 16)
  assert costs.tower_flops(shape, 3, PATCHES) == 3 * (products + attention)
  chip = chips.CHIPS['v5e']
  seconds = costs.tower_seconds(chip, shape, 3, PATCHES, 2, 3, 0.5)
  work = 9 * (products + attention)
  assert seconds == pytest.approx(work / (2 * 197e12 * 0.5))
