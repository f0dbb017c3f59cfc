"""Writes adapters_golden.npz: what peft makes of `hf_adapters.CASES`.

Run where peft, torch and transformers are installed, with tests/support in
PYTHONPATH: python tests/checkpoints/make_adapters_golden.py [DIRECTORY BASE]

With a directory that k15 wrote and the model it belongs to, it prints instead
the largest difference of logits between peft on the base and the model that
holds the directory.
"""

import pathlib
import sys
import tempfile

import hf_adapters
import hf_checkpoints
import numpy as np
import peft
import torch
import transformers

GOLDEN = pathlib.Path(__file__).with_name('adapters_golden.npz')


def logits(model, tokens):
  """Float32 logits [T, V] of tokens [T]."""
  with torch.no_grad():
    return model.eval()(torch.tensor(tokens[None])).logits[0].numpy()


def load(directory):
  return transformers.AutoModelForCausalLM.from_pretrained(
    directory, dtype=torch.float32, attn_implementation='eager'
  )


def adapted(base, adapters):
  return peft.PeftModel.from_pretrained(load(base), adapters)


def compare(adapters, base):
  """Prints how far peft's policy is from the merged one, and from the base."""
  model = adapted(base, adapters)
  tokens = np.arange(2, 40, dtype=np.int64)
  found = logits(model, tokens)
  for name, directory in (('merged', adapters.parent), ('base', base)):
    other = logits(load(directory), tokens)
    print(f'{name}: {np.abs(found - other).max():.3g} of {np.ptp(found):.3g}')


def main():
  if len(sys.argv) == 3:
    compare(*map(pathlib.Path, sys.argv[1:]))
    return
  arrays = {}
  for name in hf_adapters.CASES:
    config = hf_checkpoints.CASES[name]
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      base = hf_checkpoints.write(folder / 'base', config)
      directory = hf_adapters.write(folder / 'adapters', config)
      tokens = hf_checkpoints.prompt().astype(np.int64)
      arrays[name] = logits(adapted(base, directory), tokens)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
