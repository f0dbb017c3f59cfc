"""Writes gguf_golden.npz: what transformers reads out of `gguf_files.READ`.

Run where torch, transformers and gguf are installed: PYTHONPATH=tests/support
python tests/checkpoints/make_gguf_golden.py
"""

import pathlib
import tempfile

import gguf_files
import hf_checkpoints
import numpy as np
import torch
import transformers

GOLDEN = pathlib.Path(__file__).with_name('gguf_golden.npz')


def reference(path):
  """Float32 logits [T, V] of the prompt."""
  model = transformers.AutoModelForCausalLM.from_pretrained(
    path.parent,
    gguf_file=path.name,
    dtype=torch.float32,
    attn_implementation='eager',
  ).eval()
  tokens = torch.tensor(hf_checkpoints.prompt()[None].astype(np.int64))
  with torch.no_grad():
    return model(tokens).logits[0].numpy()


def main():
  arrays = {}
  for name, (config, kind) in gguf_files.READ.items():
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'model.gguf'
      gguf_files.write(path, config, kind=kind)
      arrays[name] = reference(path)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
