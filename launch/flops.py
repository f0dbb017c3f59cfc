"""Floating-point operations and bytes of a policy, by formula.

The compiler's own count takes the body of a loop once, so it is of no use
here.  A product of [m, k] and [k, n] is 2 m k n.  Axes as in `k15.data_types`:
T tokens of a row, L layers, D width, H query heads, N key-value heads, h head
width, V vocabulary; F is the SwiGLU width.
"""

from typing import Any


def layer_weights(p: Any) -> int:
  """Matrix weights of a layer, D h (H + 2 N) + H h D + 3 D F.

  Args:
    p: shape of a policy, a `k15.policy.PolicyConfig`.
  """
  attention = p.d_model * p.head_dim * 2 * (p.num_heads + p.num_kv_heads)
  return attention + 3 * p.d_model * p.d_ff


def num_params(p: Any) -> int:
  """All parameters."""
  vectors = 2 * p.d_model + 2 * p.head_dim * p.qk_norm
  vectors += p.qkv_bias * p.head_dim * (p.num_heads + 2 * p.num_kv_heads)
  embeddings = p.vocab_size * p.d_model * (1 if p.tie_embeddings else 2)
  layers = p.num_layers * (layer_weights(p) + vectors)
  return layers + embeddings + p.d_model


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


def cache_bytes(p: Any, columns: float, bytes_each: float) -> float:
  """Keys and values of so many columns: 2 L N h numbers each."""
  return 2.0 * p.num_layers * p.num_kv_heads * p.head_dim * columns * bytes_each
