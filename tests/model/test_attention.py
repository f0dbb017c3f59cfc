"""Every way to attend against all pairs; which one is picked; meshes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough
from jax._src.cudnn import fused_attention_stablehlo

from k15.devices import sharding
from k15.model import attention
from k15.model import chunked_attention

B, N, G, T, h = 2, 2, 2, 160, 8
OPERANDS = tuple(
  np.random.default_rng(0).normal(size=shape).astype(np.float32)
  for shape in ((B, N, G, T, h), (B, N, h, T), (B, N, T, h))
)
IDS = np.zeros((B, T), np.int32)
IDS[0, :150] = np.repeat([1, 2, 3], [70, 30, 50])
IDS[1] = 1
IS_TOKEN = (IDS != 0)[:, None, None, :, None]


# In row 0, sequences 2 and 3 see sequence 1 too.
PROMPT_IDS = np.where(np.isin(IDS, (2, 3)), 1, IDS).astype(np.int32)


def outputs(attend, operands=OPERANDS, **ids):
  """Mixed values, and the gradients of a loss that leaves padding out."""
  attend = functools.partial(attend, **ids)
  weights = np.cos(np.arange(B * N * G * T * h)).reshape(B, N, G, T, h)

  def loss(operands):
    out = jnp.where(IS_TOKEN, attend(*operands, jnp.asarray(IDS)), 0)
    return jnp.sum(out * weights), out

  gradients, out = jax.jit(jax.grad(loss, has_aux=True))(operands)
  return out, *gradients


def assert_close(ours, expected):
  for a, b in zip(ours, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.fixture(scope='module')
def expected():
  return outputs(attention.plain)


def test_plain_by_hand():
  # Width 1, keys 0 and log 3 (sequence 1), then log 5 (sequence 2).  Query 1
  # of token 1 weighs values 10 and 20 by 1 : 3, which makes 17.5.
  query = jnp.ones((1, 1, 1, 3, 1))
  key = jnp.log(jnp.array([1.0, 3.0, 5.0])).reshape(1, 1, 1, 3)
  value = jnp.array([10.0, 20.0, 30.0]).reshape(1, 1, 3, 1)
  for attend in (attention.plain, chunked_attention.attend):
    out = attend(query, key, value, jnp.array([[1, 1, 2]]))
    np.testing.assert_allclose(out.ravel(), [10, 17.5, 30], rtol=1e-6)


def test_a_shared_prompt_by_hand():
  # As above, but sequences 2 (log 5) and 3 (log 1, log 2) see sequence 1, and
  # not each other: (10 + 3 * 20 + 5 * 30) / 9, (10 + 60 + 40) / 5, and
  # (10 + 60 + 40 + 2 * 50) / 7.
  query = jnp.ones((1, 1, 1, 5, 1))
  key = jnp.log(jnp.array([1.0, 3, 5, 1, 2])).reshape(1, 1, 1, 5)
  value = jnp.array([10.0, 20, 30, 40, 50]).reshape(1, 1, 5, 1)
  ids, prompts = jnp.array([[1, 1, 2, 3, 3]]), jnp.ones((1, 5), jnp.int32)
  for kind in ('plain', 'chunked'):
    out = attention.attend(query, key, value, ids, kind, prompts)
    np.testing.assert_allclose(
      out.ravel(), [10, 17.5, 220 / 9, 22, 30], rtol=1e-6
    )


def test_kinds_agree_on_shared_prompts(expected):
  shared = dict(prompt_ids=jnp.asarray(PROMPT_IDS))
  plain = outputs(attention.plain, **shared)
  # Tokens from 70 on see 70 more; the others see what they saw.
  np.testing.assert_array_equal(
    plain[0][:, :, :, :70], expected[0][..., :70, :]
  )
  assert np.abs(plain[0][0, :, :, 70:] - expected[0][0, :, :, 70:]).max() > 0.1
  for chunk in (16, 64, 256):
    chunked = functools.partial(chunked_attention.attend, chunk=chunk)
    assert_close(outputs(chunked, **shared), plain)


def test_all_of_a_segment_by_hand():
  # As above, without causality: token 0 sees token 1 too, not token 2.
  query = jnp.ones((1, 1, 1, 3, 1))
  key = jnp.log(jnp.array([1.0, 3.0, 5.0])).reshape(1, 1, 1, 3)
  value = jnp.array([10.0, 20.0, 30.0]).reshape(1, 1, 3, 1)
  ids = jnp.array([[1, 1, 2]])
  for kind in ('plain', 'chunked'):
    out = attention.attend(query, key, value, ids, kind, causal=False)
    np.testing.assert_allclose(out.ravel(), [17.5, 17.5, 30], rtol=1e-6)


def test_kinds_agree_without_causality():
  # Segments that take turns, as the windows of a picture do.
  windows = np.where(IDS, IDS * 2 + np.arange(T) // 16 % 2, 0)
  ids = jnp.asarray(windows.astype(np.int32))

  def outputs_of(attend, **options):
    return outputs(lambda q, k, v, _: attend(q, k, v, ids, **options))

  plain = outputs_of(attention.plain, causal=False)
  for chunk in (16, 64, 256):
    chunked = functools.partial(chunked_attention.attend, chunk=chunk)
    assert_close(outputs_of(chunked, causal=False), plain)
  assert_close(
    outputs_of(attention.splash, interpret=True, causal=False), plain
  )
  causal = outputs_of(attention.plain)
  assert np.abs(causal[0] - plain[0])[0, :, :, :70].max() > 0.1


def test_columns_are_not_split_without_causality():
  mesh = sharding.make_mesh(1, 2, 2, 2)
  attend = functools.partial(attention.attend, causal=False)
  expected = attend(*OPERANDS, jnp.asarray(IDS))
  with sharding.use_mesh(mesh):
    found = jax.jit(attend)(*OPERANDS, jnp.asarray(IDS))
  found, expected = (jnp.where(IS_TOKEN, x, 0) for x in (found, expected))
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_splash_knows_no_shared_prompts():
  with pytest.raises(ValueError, match="'splash' knows no prompts"):
    attention.attend(*OPERANDS, IDS, 'splash', PROMPT_IDS)


@pytest.mark.parametrize('kind', ['auto', 'plain', 'chunked'])
def test_kinds_agree(expected, kind):
  assert_close(
    outputs(functools.partial(attention.attend, kind=kind)), expected
  )


def test_splash_agrees(expected):
  # 160 tokens make two blocks of 128 with padding, and heads of 8.
  interpreted = functools.partial(attention.splash, interpret=True)
  assert_close(outputs(interpreted), expected)


@pytest.mark.parametrize('causal', [True, False])
def test_splash_lowers_for_tpu(causal):
  shapes = [(1, 2, 2, 1024, 128), (1, 2, 128, 1024), (1, 2, 1024, 128)]
  arrays = [jax.ShapeDtypeStruct(s, jnp.bfloat16) for s in shapes]
  ids = jax.ShapeDtypeStruct((1, 1024), jnp.int32)

  def loss(*operands):
    out = attention.splash(*operands, causal=causal)
    return out.astype(jnp.float32).sum()

  step = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
  exported = jax.export.export(
    step,
    platforms=['tpu'],
    disabled_checks=[
      jax.export.DisabledSafetyCheck.custom_call('tpu_custom_call')
    ],
  )(*arrays, ids)
  # Forward, and backward for queries and for keys and values.
  assert exported.mlir_module().count('@tpu_custom_call') == 3


@pytest.mark.parametrize('is_shared', [False, True])
@pytest.mark.parametrize('length', [1024, 16384])
def test_cudnn_lowers_for_cuda(monkeypatch, length, is_shared):
  monkeypatch.setattr(
    fused_attention_stablehlo, 'check_cudnn_version', lambda: 91000
  )
  shapes = [(2, 2, 2, length, 64), (2, 2, 64, length), (2, 2, length, 64)]
  arrays = [jax.ShapeDtypeStruct(s, jnp.bfloat16) for s in shapes]
  ids = jax.ShapeDtypeStruct((2, length), jnp.int32)

  def loss(*operands):
    prompts = operands[3] if is_shared else None
    out = attention.attend(*operands, 'cudnn', prompts)
    return out.astype(jnp.float32).sum()

  traced = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(*arrays, ids)
  text = traced.lower(lowering_platforms=('cuda',)).as_text()
  assert '__cudnn$fmhaSoftmax' in text
  assert '__cudnn$fmhaSoftmaxBackward' in text
  # Only short packed rows get a mask of all pairs; long ones go by chunks.
  assert ('fmhaScaleBiasSoftmax' in text) == (length == 1024)
  assert (f'{length}x{length}x' in text) == (length == 1024)


def test_the_platform_and_the_length_pick(monkeypatch):
  def picks(platform, length, dtype):
    monkeypatch.setattr(attention, 'target_platform', lambda: platform)
    return attention.pick('auto', length, dtype)

  assert picks('cpu', 2047, jnp.float32) == 'plain'
  assert picks('cpu', 2048, jnp.float32) == 'chunked'
  assert picks('tpu', 128, jnp.bfloat16) == 'plain'
  assert picks('tpu', 4096, jnp.float32) == 'splash'
  assert picks('gpu', 4096, jnp.bfloat16) == 'cudnn'
  assert picks('gpu', 4096, jnp.float32) == 'chunked'
  assert attention.pick('plain', 10**6, jnp.float32) == 'plain'


def test_refusals():
  with pytest.raises(ValueError, match="'ring' is not one of"):
    attention.pick('ring', 8, jnp.float32)
  with pytest.raises(ValueError, match='not float32'):
    attention.pick('cudnn', 8, jnp.float32)


@pytest.mark.parametrize('kind', ['plain', 'chunked', 'splash'])
def test_heads_and_rows_stay_on_their_devices(expected, kind, monkeypatch):
  interpreted = functools.partial(attention.splash, interpret=True)
  monkeypatch.setitem(attention._LOCAL, 'splash', interpreted)
  mesh = sharding.make_mesh(data=2, fsdp=1, tensor=2)
  with sharding.use_mesh(mesh):
    ours = outputs(functools.partial(attention.attend, kind=kind))
  assert_close(ours, expected)


@pytest.mark.parametrize('ways', thorough.after([4, 1, 2]))
@pytest.mark.parametrize('kind', ['chunked', 'plain'])
def test_columns_over_devices_change_nothing(expected, ways, kind):
  mesh = jax.make_mesh(
    (2, ways), ('data', 'context'), (jax.sharding.AxisType.Auto,) * 2,
    devices=jax.devices()[: 2 * ways],
  )  # fmt: skip
  rules = (('batch', 'data'), ('kv_heads', None), ('sequence', 'context'))
  shared = dict(prompt_ids=jnp.asarray(PROMPT_IDS))
  attend = functools.partial(attention.attend, kind=kind)
  with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
    ours = outputs(attend)
    ours_shared = outputs(attend, **shared)
  assert_close(ours, expected)
  assert_close(ours_shared, outputs(attention.plain, **shared))


@pytest.mark.parametrize('ways', thorough.after([4, 2]))
@pytest.mark.parametrize('heads', [1, 2])
def test_splash_over_columns_on_devices(ways, heads, monkeypatch):
  # 512 columns are 4 parts of one block of whole lanes; rows are packed, and a
  # sequence goes on from one part to the next.
  shapes = (1, 2, 2, 512, 8), (1, 2, 8, 512), (1, 2, 512, 8)
  rng = np.random.default_rng(1)
  operands = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
  ids = jnp.asarray(np.repeat([1, 2, 3, 0], [200, 100, 180, 32])[None])
  is_token = (ids != 0)[:, None, None, :, None]
  weights = np.cos(np.arange(np.prod(shapes[0]))).reshape(shapes[0])

  def results(attend):
    def loss(operands):
      out = jnp.where(is_token, attend(*operands, ids), 0)
      return jnp.sum(out * weights), out

    gradients, out = jax.jit(jax.grad(loss, has_aux=True))(operands)
    return out, *gradients

  made = []
  kernel = attention._splash_kernel

  def interpreted(*args):
    made.append(args)
    return kernel(*args, interpret=True)

  monkeypatch.setattr(attention, '_splash_kernel', interpreted)
  mesh = sharding.make_mesh(data=1, fsdp=1, tensor=heads, context=ways)
  with sharding.use_mesh(mesh):
    ours = results(functools.partial(attention.attend, kind='splash'))
  assert made[0] == (512, 4 // heads, 512 // ways, ways)
  assert_close(ours, results(attention.plain))


def test_splash_blocks_divide_the_part_of_a_device():
  # (131072 + 1024) / 8 = 16512 = 43 * 3 * 128.
  assert attention._largest_block(16512) == 384
  assert attention._largest_block(4096) == 512
  assert attention._largest_block(128) == 128


def test_the_mask_of_blocks_is_that_of_pairs():
  ours = attention._CausalMask((8, 8))
  plain = np.tril(np.ones((8, 8), bool))
  for size in (1, 2, 4):
    for i in range(0, 8, size):
      for j in range(0, 8, size):
        block = slice(i, i + size), slice(j, j + size)
        assert ours[block].any() == plain[block].any()
        assert ours[block].all() == plain[block].all()
