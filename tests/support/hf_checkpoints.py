"""Small random checkpoints in the Hugging Face layout, one of each family.

Made of numpy and safetensors alone, with tensor names and shapes written out
here once more, so that k15 and transformers both meet what they did not make.
"""

import json

import numpy as np
from safetensors.numpy import save_file

METADATA = {'format': 'pt'}
VOCAB, D, LAYERS, PROMPT, NEW = 96, 32, 2, 24, 64
LLAMA3 = dict(
  rope_type='llama3',
  factor=8.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=64,
)
YARN = dict(type='yarn', factor=4.0, original_max_position_embeddings=64)


def _config(architecture, model_type, heads, kv_heads, head_dim, **others):
  return dict(
    architectures=[architecture],
    model_type=model_type,
    vocab_size=VOCAB,
    hidden_size=D,
    num_hidden_layers=LAYERS,
    num_attention_heads=heads,
    num_key_value_heads=kv_heads,
    head_dim=head_dim,
    intermediate_size=48,
    hidden_act='silu',
    rms_norm_eps=1e-6,
    max_position_embeddings=256,
    eos_token_id=1,
    torch_dtype='float32',
    **others,
  )


QWEN2 = 'Qwen2ForCausalLM', 'qwen2'
QWEN3 = 'Qwen3ForCausalLM', 'qwen3'
LLAMA = 'LlamaForCausalLM', 'llama'
CASES = {
  'qwen2': _config(
    *QWEN2, 4, 2, 8, rope_theta=1e6, tie_word_embeddings=False
  ),
  'qwen2_yarn': _config(
    *QWEN2, 4, 2, 8, rope_theta=1e4, rope_scaling=YARN, tie_word_embeddings=True
  ),
  'qwen3': _config(*QWEN3, 4, 1, 16, rope_theta=1e6, tie_word_embeddings=True),
  'qwen3_yarn': _config(
    *QWEN3, 4, 2, 16,
    rope_theta=1e4,
    rope_scaling=YARN | dict(beta_fast=4.0, beta_slow=2.0),
    tie_word_embeddings=False,
  ),
  'llama': _config(*LLAMA, 2, 2, 16, rope_theta=1e4, tie_word_embeddings=False),
  'llama3': _config(
    *LLAMA, 4, 2, 8,
    rope_theta=5e5,
    rope_scaling=LLAMA3,
    tie_word_embeddings=True,
  ),
}  # fmt: skip


def shapes(config):
  """Tensor name -> shape."""
  c = config
  d, h, f = c['hidden_size'], c['head_dim'], c['intermediate_size']
  wide, narrow = c['num_attention_heads'] * h, c['num_key_value_heads'] * h
  named = {'model.embed_tokens.weight': (c['vocab_size'], d)}
  for i in range(c['num_hidden_layers']):
    layer = {
      'input_layernorm.weight': (d,),
      'post_attention_layernorm.weight': (d,),
      'self_attn.q_proj.weight': (wide, d),
      'self_attn.k_proj.weight': (narrow, d),
      'self_attn.v_proj.weight': (narrow, d),
      'self_attn.o_proj.weight': (d, wide),
      'mlp.gate_proj.weight': (f, d),
      'mlp.up_proj.weight': (f, d),
      'mlp.down_proj.weight': (d, f),
    }
    if c['model_type'] == 'qwen2':
      layer |= {'self_attn.q_proj.bias': (wide,)}
      layer |= {f'self_attn.{x}_proj.bias': (narrow,) for x in 'kv'}
    if c['model_type'] == 'qwen3':
      layer |= {f'self_attn.{x}_norm.weight': (h,) for x in 'qk'}
    named |= {f'model.layers.{i}.{name}': layer[name] for name in layer}
  named['model.norm.weight'] = (d,)
  if not c['tie_word_embeddings']:
    named['lm_head.weight'] = (c['vocab_size'], d)
  return named


def tensors(config, seed=0):
  """Every tensor random, scales around 1."""
  rng = np.random.default_rng(seed)
  drawn = {}
  for name, shape in shapes(config).items():
    x = rng.normal(0, 0.25, shape).astype(np.float32)
    drawn[name] = x + np.float32(name.endswith('norm.weight'))
  return drawn


def write(directory, config, arrays=None, files=1):
  """Writes the directory, in several files with an index if asked to."""
  directory.mkdir(parents=True, exist_ok=True)
  (directory / 'config.json').write_text(json.dumps(config))
  arrays = tensors(config) if arrays is None else arrays
  if files == 1:
    save_file(arrays, directory / 'model.safetensors', METADATA)
    return directory
  weight_map = {}
  for i in range(files):
    name = f'model-{i + 1:05}-of-{files:05}.safetensors'
    own = {key: arrays[key] for key in list(arrays)[i::files]}
    save_file(own, directory / name, METADATA)
    weight_map |= dict.fromkeys(own, name)
  index = dict(metadata={}, weight_map=weight_map)
  (directory / 'model.safetensors.index.json').write_text(json.dumps(index))
  return directory


def prompt():
  """int32 [PROMPT]."""
  return np.random.default_rng(7).integers(2, VOCAB, PROMPT).astype(np.int32)
