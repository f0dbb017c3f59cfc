"""A directory of peft for each small checkpoint of `hf_checkpoints`.

Made of numpy and safetensors alone, with peft's names and shapes written out
here once more, so that k15 and peft both meet what they did not make.
"""

import json

import hf_checkpoints
import numpy as np
from safetensors.numpy import save_file

RANK, ALPHA = 4, 6.0
CASES = ('qwen2', 'qwen3', 'llama3')


def tensors(config, seed=5):
  """A [r, in] and B [out, r] of every kernel, random."""
  rng = np.random.default_rng(seed)
  drawn = {}
  for name, shape in hf_checkpoints.shapes(config).items():
    if not name.endswith('_proj.weight'):
      continue
    module = f'base_model.model.{name.removesuffix(".weight")}'
    out, width = shape
    drawn[f'{module}.lora_A.weight'] = rng.normal(0, 0.2, (RANK, width))
    drawn[f'{module}.lora_B.weight'] = rng.normal(0, 0.2, (out, RANK))
  return {name: x.astype(np.float32) for name, x in drawn.items()}


def write(directory, config):
  """What `PeftModel.from_pretrained` takes."""
  directory.mkdir(parents=True)
  modules = 'qkvo', ('gate', 'up', 'down')
  names = [f'{name}_proj' for part in modules for name in part]
  text = json.dumps(
    dict(
      peft_type='LORA', task_type='CAUSAL_LM', r=RANK, lora_alpha=ALPHA,
      target_modules=names, bias='none', inference_mode=True,
    )
  )  # fmt: skip
  (directory / 'adapter_config.json').write_text(text)
  path = directory / 'adapter_model.safetensors'
  save_file(tensors(config), path, hf_checkpoints.METADATA)
  return directory
