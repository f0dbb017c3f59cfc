"""Low-rank adapters on disk, as the library peft reads and writes them.

A stage that trains adapters leaves a model with them added, which everything
opens, and within it the directory `adapters`: a few files of the matrices
alone, which peft and serving engines put on the model the stage began with.
"""

import json
import pathlib
from typing import Any

import jax

from k15.checkpoints import hf
from k15.checkpoints import tensor_files
from k15.model import layers
from k15.model import policy

DIRECTORY = 'adapters'  # Of a model's.
CONFIG, WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
_NAMES = {'a': 'lora_A', 'b': 'lora_B'}


def export(
  directory: pathlib.Path,
  shape: policy.PolicyConfig,
  adapters: Any,
  base: pathlib.Path | None,
) -> None:
  """Writes a directory that peft loads; float32, as they were trained.

  Every process calls it, to gather split matrices; the first writes.

  Args:
    directory: to make.
    shape: of the policy.
    adapters: of `k15.model.lora`.
    base: directory of the model they belong to, if there is one.
  """
  places = dict(map(_place, jax.tree_util.tree_leaves_with_path(adapters)))
  tensors = {
    _tensor(name, which): (x, leaf, layer)
    for (names, which), (x, leaf) in places.items()
    for layer, name in enumerate(names)
  }
  kinds = {
    name: (leaf.shape, x.dtype) for name, (x, leaf, _) in tensors.items()
  }
  arrays = (hf.gather(*place, place[0].dtype) for place in tensors.values())
  if jax.process_index() > 0:
    for _ in arrays:  # It only helps to gather.
      pass
    return
  directory.mkdir(parents=True)
  tensor_files.write(directory / WEIGHTS, kinds, arrays)
  text = json.dumps(_to_json(shape, tensors, base), indent=2)
  (directory / CONFIG).write_text(text + '\n')


def _place(path_and_array):
  """((tensors of the kernel, 'a' or 'b'), (matrix, its Leaf))."""
  path, x = path_and_array
  *outer, name, which = path
  kernel = jax.tree_util.DictKey(name.key.removesuffix(layers.LORA))
  leaf = hf.leaf_of((*outer, kernel), x)
  return (leaf.names, which.key), (x, leaf)


def _tensor(name, which):
  """peft's name of a matrix beside the tensor of this name."""
  module = name.removesuffix('.weight')
  return f'base_model.model.{module}.{_NAMES[which]}.weight'


def _to_json(shape, tensors, base):
  # peft looks for modules by the last part of their names: 'q_proj', in every
  # layer.
  modules = sorted({name.split('.')[-3] for name in tensors})
  return dict(
    peft_type='LORA',
    task_type='CAUSAL_LM',
    base_model_name_or_path=str(base.absolute()) if base else None,
    r=shape.lora_rank,
    lora_alpha=shape.lora_alpha,
    lora_dropout=0.0,
    target_modules=modules,
    bias='none',
    # Matrices are written [out, in], as torch's linear layers have theirs.
    fan_in_fan_out=False,
    use_rslora=False,
    inference_mode=True,
  )
