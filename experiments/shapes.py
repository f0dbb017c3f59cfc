"""Published shapes of open models, filled into `config.policy`.

Every number is from the `config.json` of the model's repository on the
Hugging Face hub, named beside it: `hidden_size`,
`num_hidden_layers`, `num_attention_heads`, `num_key_value_heads`, `head_dim`
(where there is none, hidden_size / num_attention_heads), `intermediate_size`,
`vocab_size`, `rope_theta`, `rms_norm_eps` and `tie_word_embeddings`.
"""


def qwen25_1p5b(policy) -> None:
  """Qwen/Qwen2.5-1.5B."""
  _qwen2(policy, 28, 1536, 12, 2, 8960, 151936, tied=True)


def qwen25_7b(policy) -> None:
  """Qwen/Qwen2.5-7B."""
  _qwen2(policy, 28, 3584, 28, 4, 18944, 152064)


def qwen25_32b(policy) -> None:
  """Qwen/Qwen2.5-32B."""
  # Its rms_norm_eps is 1e-5, unlike that of the others.
  _qwen2(policy, 64, 5120, 40, 8, 27648, 152064)
  policy.rms_norm_eps = 1e-5


def qwen25_72b(policy) -> None:
  """Qwen/Qwen2.5-72B."""
  _qwen2(policy, 80, 8192, 64, 8, 29568, 152064)
  policy.rms_norm_eps = 1e-5


def qwen3_8b(policy) -> None:
  """Qwen/Qwen3-8B."""
  _fill(policy, 36, 4096, 32, 8, 12288, 151936)
  policy.update(rope_theta=1000000.0, rms_norm_eps=1e-6, qk_norm=True)


def llama31_8b(policy) -> None:
  """meta-llama/Llama-3.1-8B; its `rope_scaling` is not a shape."""
  _fill(policy, 32, 4096, 32, 8, 14336, 128256)
  policy.update(rope_theta=500000.0, rms_norm_eps=1e-5, qk_norm=False)


SHAPES = dict(
  qwen25_1p5b=qwen25_1p5b,
  qwen25_7b=qwen25_7b,
  qwen25_32b=qwen25_32b,
  qwen25_72b=qwen25_72b,
  qwen3_8b=qwen3_8b,
  llama31_8b=llama31_8b,
)


def _qwen2(policy, *shape, tied=False):
  _fill(policy, *shape)
  policy.update(
    rope_theta=1000000.0,
    rms_norm_eps=1e-6,
    qkv_bias=True,
    qk_norm=False,
    tie_embeddings=tied,
  )


def _fill(policy, layers, d_model, heads, kv_heads, d_ff, vocab):
  policy.update(
    num_layers=layers,
    d_model=d_model,
    num_heads=heads,
    num_kv_heads=kv_heads,
    head_dim=128,
    d_ff=d_ff,
    vocab_size=vocab,
    qkv_bias=False,
    tie_embeddings=False,
  )
