"""The decoder against formulas written out in numpy, in every way it is run."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import thorough

from k15.devices import sharding
from k15.model import attention as attention_lib
from k15.model import heads as heads_lib
from k15.model import kv_cache
from k15.model import policy

CONFIG = policy.PolicyConfig(
  vocab_size=64,
  num_layers=2,
  d_model=32,
  num_heads=4,
  num_kv_heads=2,
  head_dim=8,
  d_ff=48,
)
LENGTHS = 7, 5, 4  # of the sequences of a packed row

forward = jax.jit(policy.forward, static_argnums=0)
decode = jax.jit(policy.decode, static_argnums=0)
token_logprobs = jax.jit(heads_lib.token_logprobs, static_argnums=0)


def random_params(config):
  """Random in every leaf: at init biases are 0 and scales 1, hiding bugs."""
  boxed = policy.boxed(config)
  rng = np.random.default_rng(1)

  def draw(path, leaf):
    values = rng.normal(0, 0.2, leaf.shape).astype(np.float32)
    return values + (path[-1].key == 'scale')

  return jax.tree_util.tree_map_with_path(draw, nn.unbox(boxed))


def whole_rows(rows, length, seed=0):
  """Tokens, positions and segment ids of one sequence a row."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, CONFIG.vocab_size, (rows, length), np.int32)
  positions = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
  return tokens, positions, np.ones_like(tokens)


def packed_row(length=20):
  """The three sequences side by side, then padding."""
  tokens, _, _ = whole_rows(1, length)
  used = sum(LENGTHS)
  positions, segment_ids = np.zeros((2, 1, length), np.int32)
  positions[0, :used] = np.concatenate([np.arange(n) for n in LENGTHS])
  segment_ids[0, :used] = np.repeat([1, 2, 3], LENGTHS)
  return tokens, positions, segment_ids


def numpy_logits(config, params, tokens, positions):
  """Float64 logits [T, V] of one sequence, each head and query on its own."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  h, group = config.head_dim, config.num_heads // config.num_kv_heads

  def norm(x, scale):
    mean_square = (x**2).mean(-1, keepdims=True)
    return x / np.sqrt(mean_square + config.rms_norm_eps) * scale['scale']

  def turned(x):
    i = np.arange(h // 2)
    turns = np.exp(1j * np.outer(positions, config.rope_theta ** (-2 * i / h)))
    z = (x[:, : h // 2] + 1j * x[:, h // 2 :]) * turns
    return np.concatenate([z.real, z.imag], axis=1)

  def attention(x, a):
    def heads(name, count):
      y = x @ a[name] + (a[f'{name}_bias'] if config.qkv_bias else 0)
      y = [y[:, i * h : (i + 1) * h] for i in range(count)]
      if name == 'v':
        return y
      if config.qk_norm:
        y = [norm(head, a[f'{name}_norm']) for head in y]
      return [turned(head) for head in y]

    q, k, v = (
      heads('q', config.num_heads),
      heads('k', config.num_kv_heads),
      heads('v', config.num_kv_heads),
    )
    out = np.zeros((len(x), config.num_heads * h))
    for i in range(config.num_heads):
      for t in range(len(x)):
        scores = k[i // group][: t + 1] @ q[i][t] / np.sqrt(h)
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        out[t, i * h : (i + 1) * h] = weights @ v[i // group][: t + 1]
    return out @ a['o']

  x = p['embedding'][tokens]
  for i in range(config.num_layers):
    layer = p[f'layer_{i}']
    x = x + attention(norm(x, layer['attention_norm']), layer['attention'])
    y = norm(x, layer['mlp_norm'])
    gate = y @ layer['gate']
    x = x + (gate / (1 + np.exp(-gate)) * (y @ layer['up'])) @ layer['down']
  head = p['embedding'].T if config.tie_embeddings else p['lm_head']
  return norm(x, p['norm']) @ head


def log_softmax(logits):
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(scope='module')
def params():
  return random_params(CONFIG)


@pytest.mark.parametrize(
  'changes',
  [
    dict(num_kv_heads=4),  # plain multi-head attention
    dict(num_kv_heads=2, qkv_bias=True, qk_norm=False),  # like Qwen2
    dict(num_kv_heads=1, tie_embeddings=False, rope_theta=1e6),
  ],
  ids=['multi_head', 'grouped', 'multi_query'],
)
def test_logprobs_and_entropy_equal_the_formulas(changes):
  config = dataclasses.replace(CONFIG, **changes)
  params = random_params(config)
  tokens, positions, segment_ids = whole_rows(2, 9)
  temperature = 0.7
  logprobs, entropy = token_logprobs(
    config, params, tokens, positions, segment_ids, temperature
  )
  for row in range(2):
    logits = numpy_logits(config, params, tokens[row], positions[row])
    expected = log_softmax(logits[:-1] / temperature)
    chosen = expected[np.arange(8), tokens[row, 1:]]
    np.testing.assert_allclose(logprobs[row, 1:], chosen, atol=2e-5)
    plain = -(np.exp(expected) * expected).sum(-1)
    np.testing.assert_allclose(entropy[row, 1:], plain, atol=2e-5)


def test_a_parameter_for_each_option():
  def shapes(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    boxed = policy.boxed(config)
    leaves = jax.tree_util.tree_leaves_with_path(nn.unbox(boxed))
    return {
      '/'.join(key.key for key in path): leaf.shape for path, leaf in leaves
    }

  plain = shapes()
  added = set(shapes(qkv_bias=True)) - set(plain)
  assert added == {
    f'layer_{i}/attention/{name}_bias' for i in range(2) for name in 'qkv'
  }
  assert shapes(qkv_bias=True)['layer_0/attention/k_bias'] == (16,)
  assert shapes(tie_embeddings=False)['lm_head'] == (32, 64)
  assert 'lm_head' not in plain
  assert plain['layer_1/attention/q_norm/scale'] == (8,)
  assert not any('_norm/scale' in n for n in shapes(qk_norm=False) if '/q' in n)
  # Embedding 64 x 32; per layer q, o 32 x 32 and k, v 32 x 16, three SwiGLU
  # matrices 32 x 48, norms 32 + 32 + 8 + 8; the last norm.
  per_layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 80
  total = sum(int(np.prod(shape)) for shape in plain.values())
  assert total == 64 * 32 + 2 * per_layer + 32


def test_chunks_change_neither_values_nor_gradients(params):
  batch = whole_rows(2, 12)  # 22 targets

  def loss(params, chunk):
    config = dataclasses.replace(CONFIG, logprob_chunk=chunk)
    logprobs, entropy = token_logprobs(config, params, *batch)
    return jnp.sum(jnp.sin(logprobs)), (logprobs, entropy)

  whole, small = (
    jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(params, chunk)
    for chunk in (1024, 5)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, small
  )


def test_chunks_bound_the_logits(params):
  batch = whole_rows(4, 32)  # 128 targets: 128 x 64 logits

  def largest(chunk):
    """Elements of the largest intermediate, backward included."""
    config = dataclasses.replace(CONFIG, logprob_chunk=chunk)

    def loss(params):
      return token_logprobs(config, params, *batch)[0].sum()

    jaxpr = jax.make_jaxpr(jax.grad(loss))(params).jaxpr
    return max(
      int(np.prod(v.aval.shape))
      for v in _variables(jaxpr)
      if v.aval.shape and v.aval.shape[-1] == CONFIG.vocab_size
    )

  assert largest(1024) == 128 * 64
  # What is left is the transposed embedding, 32 x 64.
  assert largest(8) == 32 * 64


def _variables(jaxpr):
  """All values a jaxpr computes, those of inner jaxprs included."""
  for equation in jaxpr.eqns:
    yield from equation.outvars
    for value in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda x: hasattr(x, 'eqns')
    ):
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from _variables(inner)


def test_packed_sequences_do_not_see_each_other(params):
  tokens, positions, segment_ids = packed_row()
  packed, _ = token_logprobs(CONFIG, params, tokens, positions, segment_ids)
  rows = np.zeros((3, 3, max(LENGTHS)), np.int32)
  columns = np.cumsum([0, *LENGTHS])
  for i, length in enumerate(LENGTHS):
    rows[0, i, :length] = tokens[0, columns[i] : columns[i + 1]]
    rows[1, i, :length] = np.arange(length)
    rows[2, i, :length] = 1
  alone, _ = token_logprobs(CONFIG, params, *rows)
  for i, length in enumerate(LENGTHS):
    np.testing.assert_allclose(
      packed[0, columns[i] + 1 : columns[i + 1]], alone[i, 1:length], atol=1e-5
    )


def test_padding_is_never_read(params):
  tokens, positions, segment_ids = packed_row()
  used = sum(LENGTHS)
  other = tokens.copy()
  other[:, used:] = 63 - other[:, used:]
  first, _ = token_logprobs(CONFIG, params, tokens, positions, segment_ids)
  second, _ = token_logprobs(CONFIG, params, other, positions, segment_ids)
  np.testing.assert_array_equal(first[:, :used], second[:, :used])
  assert np.isfinite(first).all()


def test_no_token_sees_a_later_one(params):
  tokens, positions, segment_ids = whole_rows(1, 10)
  other = tokens.copy()
  other[0, 6] = (tokens[0, 6] + 1) % CONFIG.vocab_size
  first, _ = forward(CONFIG, params, tokens, positions, segment_ids)
  second, _ = forward(CONFIG, params, other, positions, segment_ids)
  np.testing.assert_array_equal(first[0, :6], second[0, :6])
  assert (np.abs(first[0, 6:] - second[0, 6:]).max(-1) > 1e-4).all()


def test_query_blocks_are_an_implementation_detail(params, monkeypatch):
  batch = packed_row()
  whole, _ = forward(CONFIG, params, *batch)
  monkeypatch.setattr(attention_lib, '_QUERY_BLOCK', 6)  # Does not divide 20.
  blocks, _ = jax.jit(lambda p: policy.forward(CONFIG, p, *batch))(params)
  np.testing.assert_allclose(whole, blocks, atol=1e-5)


@pytest.fixture(scope='module')
def scanned():
  """The same policy with its layers stacked: config and params."""
  params = dict(random_params(CONFIG))
  layers = [params.pop(f'layer_{i}') for i in range(CONFIG.num_layers)]
  params['layers'] = jax.tree.map(lambda *x: np.stack(x), *layers)
  return dataclasses.replace(CONFIG, scan_layers=True), params


def test_scanned_layers_equal_unrolled_ones(params, scanned):
  batch = packed_row()
  hidden, cache = forward(CONFIG, params, *batch)
  hidden_2, cache_2 = forward(*scanned, *batch)
  np.testing.assert_allclose(hidden, hidden_2, atol=1e-5)
  np.testing.assert_allclose(np.stack(cache.keys), cache_2.keys, atol=1e-5)
  np.testing.assert_allclose(np.stack(cache.values), cache_2.values, atol=1e-5)
  boxed = policy.boxed(scanned[0])
  assert boxed['layers']['attention']['q'].names == ('layers', 'embed', 'heads')


@pytest.mark.parametrize('cache_block', [128, 5])  # one block; 5 + 5 + 2
@pytest.mark.parametrize('is_scanned', [False, True])
def test_decoding_token_by_token_equals_the_forward(
  params, scanned, is_scanned, cache_block
):
  config, params = scanned if is_scanned else (CONFIG, params)
  config = dataclasses.replace(config, cache_block=cache_block)
  batch = whole_rows(2, 9)
  expected, _ = forward(config, params, *batch)
  cache = kv_cache.empty(config, rows=2, columns=12)
  # What an earlier response left in the columns must not be seen.
  cache = jax.tree.map(lambda x: x + 7, cache)
  # The second row lags three tokens behind: it feeds its first one again.
  for step in range(12):
    columns = np.clip([step, step - 3], 0, 8).astype(np.int32)
    tokens = batch[0][[0, 1], columns]
    hidden, cache = decode(config, params, tokens, columns, cache)
    np.testing.assert_allclose(
      hidden, expected[np.arange(2), columns], atol=1e-5
    )


@pytest.mark.parametrize('has_bias', [False, True])
def test_joined_projections_change_nothing(has_bias):
  config = dataclasses.replace(CONFIG, qkv_bias=has_bias, num_layers=1)
  params = random_params(config)
  joined = policy.fuse_projections(params)
  attention = joined['layer_0']['attention']
  assert 'q_k_v' in attention and 'q' not in attention
  batch = whole_rows(2, 6)
  np.testing.assert_allclose(
    forward(config, joined, *batch)[0],
    forward(config, params, *batch)[0],
    atol=1e-5,
  )


@pytest.mark.parametrize('is_scanned', [False, True])
def test_rematerialization_keeps_gradients(scanned, is_scanned):
  config, params = scanned
  if not is_scanned:
    config = dataclasses.replace(CONFIG, num_layers=1)
    params = random_params(config)
  batch = whole_rows(2, 8)

  def gradient(mode):
    c = dataclasses.replace(config, remat=mode)

    def loss(params):
      return heads_lib.token_logprobs(c, params, *batch)[0].sum()

    return jax.jit(jax.grad(loss))(params)

  plain = gradient('none')
  for mode in ('full', 'dots'):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
      plain,
      gradient(mode),
    )


def test_each_row_reads_its_own_blocks():
  """Whether many rows have reached a block or few changes no bit."""
  config = dataclasses.replace(CONFIG, num_layers=1, cache_block=8)
  B, C, N, h = 6, 40, config.num_kv_heads, config.head_dim
  rng = np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  cache = kv_cache.empty(config, B, C)
  keys = [normal(*x.shape) for x in cache.keys[0]]
  values = [normal(*x.shape) for x in cache.values[0]]
  query = normal(B, N, 2, h)
  attend = jax.jit(kv_cache.attend)
  for last in ([39, 3, 0, 17, 8, 7], [3, 39, 39, 39, 39, 30], [7] * 6):
    positions = jnp.asarray(last, jnp.int32)
    ours = attend(query, keys, values, positions)
    scores = np.einsum('bngh,bnhc->bngc', query, np.concatenate(keys, -1))
    scores = scores / np.sqrt(h)
    seen = np.arange(C) <= np.asarray(last)[:, None]
    scores = np.where(seen[:, None, None], scores, -np.inf)
    probs = np.exp(scores - scores.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    plain = np.einsum('bngc,bnch->bngh', probs, np.concatenate(values, -2))
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    for row in range(B):
      # With all rows as far as this one, every block is read for all.
      same = attend(query, keys, values, jnp.full(B, last[row], jnp.int32))
      np.testing.assert_array_equal(ours[row], same[row])


def test_only_distances_between_positions_matter(params):
  tokens, positions, segment_ids = whole_rows(1, 10)
  here, _ = forward(CONFIG, params, tokens, positions, segment_ids)
  there, _ = forward(CONFIG, params, tokens, positions + 37, segment_ids)
  np.testing.assert_allclose(here, there, atol=5e-5)
  wider, _ = forward(CONFIG, params, tokens, positions * 2, segment_ids)
  assert np.abs(here - wider).max() > 1e-2


def test_bfloat16_activations(params):
  config = dataclasses.replace(CONFIG, dtype='bfloat16')
  batch = packed_row()
  hidden, cache = forward(config, params, *batch)
  empty = kv_cache.empty(config, 1, 4)
  for x in jax.tree.leaves((hidden, cache, empty)):
    assert x.dtype == jnp.bfloat16
  half, _ = token_logprobs(config, params, *batch)
  full, _ = token_logprobs(CONFIG, params, *batch)
  assert half.dtype == jnp.float32
  # bfloat16 keeps 8 bits: 2 ** -8 of logits of about 10.
  np.testing.assert_allclose(half, full, atol=0.2)
  hidden, _ = decode(
    config,
    params,
    batch[0][:, 0],
    np.zeros(1, np.int32),
    empty,
  )
  assert hidden.dtype == jnp.bfloat16


@pytest.fixture(scope='module')
def on_one_device(params):
  """Loss and gradient of eight rows."""
  return jax.jit(jax.value_and_grad(_mesh_loss))(params, *whole_rows(8, 12))


def _mesh_loss(params, *batch):
  logprobs, _ = token_logprobs(CONFIG, params, *batch)
  return -jnp.sum(logprobs) / 88


@pytest.mark.parametrize(
  'sizes',
  # test_meshes.py has all of them.
  thorough.after(
    [
      (2, 2, 2, 1),
      (1, 1, 1, 4),
      (8, 1, 1, 1),
      (1, 8, 1, 1),
      (1, 1, 2, 1),
      (1, 1, 1, 2),
      (1, 2, 2, 2),
    ],
    2,
    whole=True,
  ),
  ids=str,
)
def test_loss_and_gradient_do_not_depend_on_the_mesh(
  params, on_one_device, sizes
):
  mesh = sharding.make_mesh(*sizes)
  boxed = policy.boxed(CONFIG)
  layout = sharding.param_shardings(mesh, boxed)
  sharded = jax.device_put(params, layout)
  rows = sharding.sharding_of(mesh, ('batch', 'sequence'), (8, 12))
  batch = [jax.device_put(x, rows) for x in whole_rows(8, 12)]
  with sharding.use_mesh(mesh):
    loss, gradient = jax.jit(jax.value_and_grad(_mesh_loss))(sharded, *batch)
  np.testing.assert_allclose(loss, on_one_device[0], rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    gradient,
    on_one_device[1],
  )
  if sizes[1] * sizes[2] > 1:
    assert not sharded['embedding'].sharding.is_fully_replicated
