"""Published shapes of open models, filled into `config.policy`.

Those of models that see are filled into `config.vision`, too.

Every number is from the `config.json` of the model's repository on the
Hugging Face hub, named beside it: `hidden_size`,
`num_hidden_layers`, `num_attention_heads`, `num_key_value_heads`, `head_dim`
(where there is none, hidden_size / num_attention_heads), `intermediate_size`,
`vocab_size`, `rope_theta`, `rms_norm_eps` and `tie_word_embeddings`; of
`vision_config`, or from the defaults of its class in transformers.
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


def qwen25_vl_3b(config) -> None:
  """Qwen/Qwen2.5-VL-3B-Instruct."""
  _qwen2(config.policy, 36, 2048, 16, 2, 11008, 151936, tied=True)
  _windows(config.vision)


def qwen25_vl_7b(config) -> None:
  """Qwen/Qwen2.5-VL-7B-Instruct, whose text has the shape of Qwen2.5-7B."""
  qwen25_7b(config.policy)
  _windows(config.vision)


def qwen3_vl_2b(config) -> None:
  """Qwen/Qwen3-VL-2B-Instruct."""
  _qwen3_vl(config, 28, 2048, 16, 8, 6144, 151936)


def qwen3_vl_4b(config) -> None:
  """Qwen/Qwen3-VL-4B-Instruct."""
  _qwen3_vl(config, 36, 2560, 32, 8, 9728, 151936)


SHAPES = dict(
  qwen25_1p5b=qwen25_1p5b,
  qwen25_7b=qwen25_7b,
  qwen25_32b=qwen25_32b,
  qwen25_72b=qwen25_72b,
  qwen3_8b=qwen3_8b,
  llama31_8b=llama31_8b,
)
# Those that see: functions of the whole config.
SEEING = dict(
  qwen3_vl_2b=qwen3_vl_2b,
  qwen3_vl_4b=qwen3_vl_4b,
  qwen25_vl_3b=qwen25_vl_3b,
  qwen25_vl_7b=qwen25_vl_7b,
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


def _windows(vision):
  """The tower of Qwen2.5-VL, which is one for all its sizes."""
  vision.update(
    enabled=True, family='qwen2_5_vl', num_layers=32, width=1280, num_heads=16,
    d_ff=3420, patch_size=14, merge_size=2, temporal_size=2, window=4,
    full_layers=(7, 15, 23, 31), mrope_section=(16, 24, 24),
    min_pixels=3136, max_pixels=12845056,
  )  # fmt: skip


def _qwen3_vl(config, *shape):
  """With the tower of the smaller ones; 8B has another."""
  _fill(config.policy, *shape)
  config.policy.update(
    rope_theta=5000000.0, rms_norm_eps=1e-6, qk_norm=True, tie_embeddings=True
  )
  config.vision.update(
    enabled=True, family='qwen3_vl', num_layers=24, width=1024, num_heads=16,
    d_ff=4096, patch_size=16, merge_size=2, temporal_size=2, grid=48,
    deepstack=(5, 11, 17), mrope_section=(24, 20, 20), min_pixels=65536,
    max_pixels=16777216,
  )  # fmt: skip


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
