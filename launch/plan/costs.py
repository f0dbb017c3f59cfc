"""What a policy costs by formula: operations and bytes, then seconds.

The compiler's own count takes the body of a loop once, so it is of no use
here.  A product of [m, k] and [k, n] is 2 m k n.  Axes as in `k15.data_types`:
T tokens of a row, L layers, D width, H query heads, N key-value heads, h head
width, V vocabulary; F is the SwiGLU width.  D and F are the tower's where one
is counted.

Times are estimates from these counts and published numbers; nothing is
measured.  Every time is the longest of three: products at a share of the peak,
bytes at a share of the memory's bandwidth, and collectives at a share of the
links', as if each hid behind the others.
"""

import dataclasses
import math
from typing import Any


def layer_weights(p: Any) -> int:
  """Matrix weights of a layer, D h (H + 2 N) + H h D + 3 D F.

  Args:
    p: shape of a policy, a `k15.model.policy.PolicyConfig`.
  """
  attention = p.d_model * p.head_dim * 2 * (p.num_heads + p.num_kv_heads)
  return attention + 3 * p.d_model * p.d_ff


def num_params(p: Any) -> int:
  """All parameters."""
  vectors = 2 * p.d_model + 2 * p.head_dim * p.qk_norm
  vectors += p.qkv_bias * p.head_dim * (p.num_heads + 2 * p.num_kv_heads)
  embeddings = p.vocab_size * p.d_model * (1 if p.tie_embeddings else 2)
  layers = p.num_layers * (layer_weights(p) + vectors)
  tower = tower_params(p) if p.vision else 0
  return layers + embeddings + p.d_model + tower


def weight_flops(p: Any, tokens: float) -> float:
  """Forward products with weights, the head included: 2 a weight and token."""
  weights = p.num_layers * layer_weights(p) + p.vocab_size * p.d_model
  return 2.0 * weights * tokens


def attention_flops(p: Any, pairs: float) -> float:
  """Forward scores and mixing: 4 H h a layer and pair of query and key."""
  return 4.0 * p.num_layers * p.num_heads * p.head_dim * pairs


def causal_pairs(length: float) -> float:
  """Pairs of a row of which every token sees itself and those before it."""
  return length * (length + 1) / 2


def forward_flops(p: Any, rows: float, length: float) -> float:
  """Of whole rows with the head, as reference log-probabilities need it."""
  return weight_flops(p, rows * length) + attention_flops(
    p, rows * causal_pairs(length)
  )


def prefill_flops(p: Any, rows: float, length: float) -> float:
  """The same without the head."""
  head = 2.0 * p.vocab_size * p.d_model * rows * length
  return forward_flops(p, rows, length) - head


def decode_flops(p: Any, slots: float, context: float) -> float:
  """One token in every slot, which sees `context` columns."""
  return weight_flops(p, slots) + attention_flops(p, slots * context)


def tower_params(p: Any) -> int:
  """All parameters of the tower of a policy that sees, its mergers included."""
  v, norm = p.vision, 1 if p.vision.norm == 'rms' else 2
  D, F, joined = v.width, v.d_ff, v.merge_size**2 * v.width
  biases = 4 * D + (2 * F if v.mlp == 'swiglu' else F) + D
  total = v.num_layers * (_block_weights(v) + biases + 2 * norm * D)
  total += 3 * v.temporal_size * v.patch_size**2 * D
  total += (v.grid**2 + 1) * D if v.grid else 0
  total += norm * D * v.final_norm
  mergers = 1 + len(v.deepstack)
  total += _merger_weights(p) + mergers * (joined + p.d_model)
  return total + norm * (D + (mergers - 1) * joined)


def tower_flops(p: Any, pictures: float, patches: int) -> float:
  """Forward pass of pictures of so many patches n each, as they are padded.

  2 a weight and patch, of the mergers a weight and feature; scores and mixing
  are 4 n^2 D a block, and of a block with windows of w patches 4 n w D.
  """
  v, n = p.vision, patches
  weights = v.num_layers * _block_weights(v) + 3 * v.patch_size**2 * v.width
  products = 2.0 * (n * weights + n / v.merge_size**2 * _merger_weights(p))
  whole = len(set(v.full_layers)) if v.window else v.num_layers
  seen = min(n, (v.window * v.merge_size) ** 2)
  pairs = n * (whole * n + (v.num_layers - whole) * seen)
  return pictures * (products + 4.0 * v.width * pairs)


def _block_weights(v):
  """Of queries, keys, values and their mixing, and of the MLP."""
  return 4 * v.width**2 + (3 if v.mlp == 'swiglu' else 2) * v.width * v.d_ff


def _merger_weights(p):
  joined = p.vision.merge_size**2 * p.vision.width
  return (1 + len(p.vision.deepstack)) * joined * (joined + p.d_model)


@dataclasses.dataclass(frozen=True)
class Assumptions:
  """What no data sheet says.

  Attributes:
    training_mfu: share of the peak in an update, of the operations that do
      not count recomputation.
    forward_mfu: the same of forward passes.
    hbm_share, ici_share: of the bandwidths that are reached.
    latency: seconds of a collective, however small.
    row_filling: share of the tokens of training rows that are in use.
  """

  training_mfu: float = 0.4
  forward_mfu: float = 0.5
  hbm_share: float = 0.7
  ici_share: float = 0.7
  latency: float = 5e-6
  row_filling: float = 0.9

  def sentence(self) -> str:
    """All of them in words."""
    return (
      f'{self.training_mfu:.0%} of peak bf16 FLOP/s in updates,'
      f' {self.forward_mfu:.0%} in forward passes, {self.hbm_share:.0%} of HBM'
      f' bandwidth, {self.ici_share:.0%} of the links of one dimension of the'
      f' torus and {self.latency * 1e6:.0f} us a collective, each hidden behind'
      f' the longest; rows {self.row_filling:.0%} full; a response for every'
      ' slot at any time'
    )


@dataclasses.dataclass(frozen=True)
class Time:
  """Seconds of the three, and which is the longest."""

  compute: float
  memory: float = 0.0
  network: float = 0.0

  @property
  def seconds(self) -> float:
    return max(self.compute, self.memory, self.network)

  @property
  def bound(self) -> str:
    times = dict(compute=self.compute, HBM=self.memory, ICI=self.network)
    return max(times, key=times.get)


@dataclasses.dataclass(frozen=True)
class Iteration:
  """What one iteration has to do, in the mean.

  Attributes:
    responses: P * k.
    length: mean tokens of a response, L.
    prompt: tokens of a prompt.
    budget: tokens a response may grow in an iteration.
    row_length: tokens of a training row.
    updates: optimizer steps.
    patches: of a prompt's pictures; 0: there are none.
    row_patches: of a training row.
  """

  responses: int
  length: float
  prompt: float
  budget: int
  row_length: int
  updates: int
  patches: int = 0
  row_patches: int = 0

  def rows(self, filling: float) -> int:
    """Training rows of which this share is in use."""
    tokens = self.responses * (self.length + self.prompt)
    return math.ceil(tokens / (filling * self.row_length))

  @property
  def resumes(self) -> int:
    """How often a response is cut and prefilled again."""
    return max(0, math.ceil(self.length / self.budget) - 1)

  @property
  def resumed_length(self) -> float:
    """Tokens of one such prefill, in the mean."""
    # Cut at one budget, at two, and so on: the mean of 1 to n is (n + 1) / 2.
    return self.prompt + self.budget * (self.resumes + 1) / 2


def network_seconds(
  chip: Any, sent_bytes: float, count: float, a: Assumptions
) -> float:
  """Time of so many collectives, in which a chip sends these bytes.

  They go in one direction of the two links of one dimension of the torus: half
  of the published number, which is of both, over the dimensions.
  """
  links = chip.ici_bandwidth / 2 / chip.dimensions
  return sent_bytes / (links * a.ici_share) + count * a.latency


def context_imbalance(ways: int) -> float:
  """Work of the last part of causal rows over the mean, 2 - 1 / ways.

  Part i of n sees the columns up to its end: (2 i - 1) / n^2 of all pairs, so
  the last has (2 n - 1) / n times the mean, and the others wait for it.
  """
  return 2 - 1 / ways


def whole_rows(
  chip: Any, p: Any, rows: float, length: int, ways: int, chips: int,
  passes: int, mfu: float,
) -> float:  # fmt: skip
  """Seconds of the products of whole rows.

  Args:
    chip: of `launch.plan.chips`.
    p: shape of the policy.
    ways: parts of a row, the mesh axis 'context'.
    chips: of the slice.
    passes: in forward passes, 3 with the backward one.
    mfu: share of the peak.
  """
  weights = weight_flops(p, rows * length)
  attention = attention_flops(p, rows * causal_pairs(length))
  work = passes * (weights + attention * context_imbalance(ways))
  return work / (chips * chip.peak_flops * mfu)


def tower_seconds(
  chip: Any, p: Any, pictures: float, patches: int, chips: float, passes: int,
  mfu: float,
) -> float:  # fmt: skip
  """Seconds of `tower_flops`, in so many passes, on chips that share them."""
  work = passes * tower_flops(p, pictures, patches)
  return work / (chips * chip.peak_flops * mfu)


def decode_step(
  chip: Any,
  p: Any,
  slots: float,
  context: float,
  chips: int,
  bytes_read: float,
  a: Assumptions,
) -> Time:
  """One token in every slot, without collectives.

  Args:
    chip: of `launch.plan.chips`.
    p: shape of the policy.
    slots: of the whole slice.
    context: columns a slot sees, in the mean.
    chips: among which the work is divided.
    bytes_read: of weights and cache, by one chip.
  """
  work = decode_flops(p, slots, context)
  return Time(
    compute=work / (chips * chip.peak_flops * a.forward_mfu),
    memory=bytes_read / (chip.hbm_bandwidth * a.hbm_share),
  )
