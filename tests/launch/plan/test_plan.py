"""A whole small plan, compiled for TPU; memory, the search and what it says."""

import dataclasses
import re
import types

import jax
import pytest
from small_plan import needs_libtpu
from small_plan import tiny_config
from small_plan import use

from k15.config import checks
from k15.data import arithmetic
from k15.devices import sharding
from launch.plan import __main__ as plan
from launch.plan import chips
from launch.plan import hlo
from launch.plan import programs as programs_lib
from launch.plan import table
from launch.plan import times as times_lib
from launch.plan import topologies


@pytest.fixture(scope='module')
def run():
  return programs_lib.make_run(tiny_config(), jax.devices()[:4])


@needs_libtpu
def test_all_programs_compile_for_a_tpu(monkeypatch):
  texts = []

  def keep(text):
    texts.append(text)
    return read(text)

  read = hlo.collectives
  monkeypatch.setattr(hlo, 'collectives', keep)
  config, topology = tiny_config(), chips.parse('v5e:2x2')
  checks.validate(config, topology.num_chips, arithmetic.KINDS)
  devices = topologies.devices(topology)
  assert [d.device_kind for d in devices] == ['TPU v5 lite'] * 4
  run = programs_lib.make_run(config, devices)
  uses = list(plan._uses(run, topology.chip))
  programs = {one.program.name: one.program for one in uses}
  assert list(programs) == [
    'prefill', 'insert', 'generate', 'update', 'ref_logprobs',
  ]  # fmt: skip
  assert all(one.over < 0 for one in uses)
  # Splash is a kernel: forward, again for the gradient's recomputation or not,
  # and two of the gradient; prefill and log-probabilities have one.
  kernels = [text.count('tpu_custom_call') for text in texts]
  assert kernels[0] >= 1 and kernels[3] >= 3 and kernels[4] >= 1
  assert kernels[2] == 1  # of a scanned layer
  # The state is changed in place, and so is the cache.
  state = programs_lib.bytes_per_chip(run.state)
  assert programs['update'].aliased >= state
  assert programs['generate'].aliased >= programs['insert'].aliased // 2
  kinds = {c.kind for c in programs['update'].collectives}
  assert 'all-gather' in kinds or 'all-reduce' in kinds
  times = times_lib.of_iteration(run, topology, uses, length=100)
  assert [phase.name for phase in times.phases] == [
    'hand-over', 'prefill', 'decode', 'ref_logprobs', 'update',
  ]  # fmt: skip
  assert all(phase.seconds > 0 for phase in times.phases)
  record = table.record(run, topology, uses, [], times)
  assert record['programs'][0]['peak'] == programs['prefill'].peak
  text = table.iteration(times)
  assert 'Estimated iteration of 8 responses of 100 tokens' in text
  assert '40% of peak bf16 FLOP/s in updates' in text
  # Half of a share makes nothing faster.
  known = dataclasses.asdict(times.assumptions)
  assert times.unknowns.keys() == known.keys() == table._ASSUMED.keys()
  assert all(s >= times.seconds for s in times.unknowns.values())
  assert text.splitlines()[-1].startswith('Largest unknowns: at ')


@needs_libtpu
def test_decoding_for_a_tpu_moves_no_cache():
  """Turned around or copied, be it of a layer, it would be a temporary."""
  config = tiny_config()
  config.policy.update(head_dim=128, num_heads=4, num_kv_heads=4)
  # Keys and values of 2 layers, 2 slots and 2 heads on a chip: 134 MB, more
  # than its fast memory, into which the compiler would move less.
  config.rollout.update(max_length=32768, token_budget=32768)
  devices = topologies.devices(chips.parse('v5e:2x2'))
  run = programs_lib.make_run(config, devices)
  (decode,) = programs_lib.compile_generate(run)
  assert decode.aliased > 2 * 2 * 2 * 2 * 32768 * 128 * 2
  assert decode.temporaries < decode.aliased / 8


@needs_libtpu
@pytest.mark.parametrize(
  'name, sizes',
  [
    ('v4:2x2x2', (2, 2, 2, 1)),
    ('v5p:4x4x4', (1, 8, 1, 8)),  # 8 is no product of its dimensions
    ('v6e:1x1', (1, 1, 1, 1)),
  ],
)
def test_meshes_of_slices(name, sizes):
  devices = topologies.devices(chips.parse(name))
  mesh = sharding.make_mesh(*sizes, devices=devices)
  assert tuple(mesh.shape.values()) == sizes
  assert set(mesh.devices.flat) == set(devices)


def test_bytes_of_a_state_by_hand(run):
  # Layers 2 * (32 * 16 * (2 + 2 + 2 + 2) + 3 * 32 * 64) matrix weights and an
  # embedding of 320 * 32, halved by fsdp; 2 * (2 * 32 + 2 * 16) + 32 numbers of
  # norms, whole; all three times, for two moments; the steps of Adam and of
  # the state.  Four bytes each.
  split = 2 * (32 * 16 * 8 + 3 * 32 * 64) + 320 * 32
  split, whole = split // 2, 2 * (2 * 32 + 2 * 16) + 32
  numbers = 3 * (split + whole) + 2
  assert programs_lib.bytes_per_chip(run.state) == 4 * numbers


def test_what_lies_beside_a_program(run):
  size = programs_lib.bytes_per_chip
  batch, copy = size(programs_lib.batch(run)), size(run.rollout_params)
  state, params = size(run.state), size(run.state.params)
  held = {
    name: plan.held_bytes(run, name, slot_bytes=1000)
    for name in ('update', 'ref_logprobs', 'prefill', 'insert', 'generate')
  }
  moments = size(run.state.opt_state)
  assert not run.shares_weights and moments == state - params - 4
  assert held == dict(
    update=copy + batch,
    ref_logprobs=copy + moments + 2 * batch,
    prefill=moments + params + 1000,
    insert=moments + params + copy,
    generate=moments + params,
  )


def test_of_adapters_alone_there_are_moments(run):
  # Rank 4; fsdp halves axes of width 32.  A of q k v gate up 16 * 4 each, of o
  # 32 * 4, of down 64 * 4; B of q k v 4 * 32 each, of gate and up 4 * 64, of o
  # and down 4 * 16: 1,728 numbers in each of two layers.
  config = tiny_config()
  config.policy.lora_rank = 4
  config.rollout.mesh = ()
  adapted = programs_lib.make_run(config, jax.devices()[:4])
  size = programs_lib.bytes_per_chip
  trained, frozen = size(adapted.state.params), size(adapted.state.frozen)
  assert trained == 4 * 2 * 1728 and frozen == size(run.state.params)
  assert size(adapted.state.opt_state) == 2 * trained + 4
  # The rollout reads sums, which lie beside what is frozen; and it joins of
  # each layer q k v, 3 * 32 * 32, and gate and up, 2 * 32 * 64, halved by fsdp.
  assert not adapted.shares_weights
  assert adapted.joined_bytes == 4 * (3 * 32 * 32 + 2 * 32 * 64)
  held = plan.held_bytes(adapted, 'generate', 0)
  assert held == 3 * trained + 4 + frozen + adapted.joined_bytes


def test_a_rollout_like_training_has_no_copy():
  config = tiny_config()
  config.mesh.update(fsdp=2, context=1, tensor=2)
  config.rollout.mesh = ()
  run = programs_lib.make_run(config, jax.devices()[:4])
  assert run.shares_weights
  moments = programs_lib.bytes_per_chip(run.state.opt_state)
  assert plan.held_bytes(run, 'generate', 0) == moments
  config.optimizer.offload = True
  run = programs_lib.make_run(config, jax.devices()[:4])
  assert plan.held_bytes(run, 'generate', 0) == 0


@pytest.mark.parametrize(
  'message, expected',
  [
    ('Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.',
     int(20.5 * 2**30)),
    ('the total memory required for HLO temporaries (5.82T) exceeds available'
     ' HBM (30.75G).', int(5.82 * 2**40)),
    ('something else', None),
  ],
)  # fmt: skip
def test_needed_bytes(message, expected):
  assert programs_lib.needed_bytes(message) == expected


def test_the_search_follows_the_line():
  tried = []

  def compile_with(value):
    tried.append(value)
    return use(10 + 3 * value)

  # 10 + 3 n <= 100 up to n = 30, and 28 is its last multiple of 4.
  found = plan.find_largest('key', compile_with, use(22), 4, 4, 1000)
  assert found == plan.Largest('key', 28, 3, True)
  assert tried == [8, 28]
  # There are not more than 12.
  found = plan.find_largest('key', compile_with, use(22), 4, 4, 12)
  assert found.value == 12


def test_the_search_steps_back_and_gives_up():
  # Steeper beyond 20 than the line through 4 and 8 says.
  found = plan.find_largest(
    'key', lambda n: use(10 + 3 * n + 9 * (n > 24)), use(22), 4, 4, 1000
  )
  assert found == plan.Largest('key', 24, 4, True)
  found = plan.find_largest(
    'key', lambda n: use(90 + 3 * n), use(102), 4, 4, 99
  )
  assert found == plan.Largest('key', 0, 2, False)
  assert 'none of which fits' in table.largest(found)


def test_it_says_by_how_much_it_does_not_fit(run):
  uses = [use(50), use(80, held=30, name='generate')]
  words = table.verdict(uses)
  assert 'generate does not fit: 10 bytes' in words
  assert 'fewer rollout.num_slots' in words and 'update' not in words
  assert 'All programs fit.' in table.verdict(uses[:1])


def test_mistakes_end_before_any_compilation(capsys):
  options = types.SimpleNamespace(config=None, topology=None)
  with pytest.raises(SystemExit) as ended:
    plan.plan(options)
  assert ended.value.code == 2
  message = capsys.readouterr().err
  assert re.search('--config and --topology are needed', message)
