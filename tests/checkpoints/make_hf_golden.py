"""Writes hf_golden.npz: what transformers makes of `hf_checkpoints.CASES`.

Run where torch and transformers are installed: python
tests/checkpoints/make_hf_golden.py
"""

import pathlib
import tempfile

import hf_checkpoints
import numpy as np
import torch
import transformers

GOLDEN = pathlib.Path(__file__).with_name('hf_golden.npz')


def reference(directory):
  """Float32 logits [T, V] of the prompt and the NEW greedy tokens after it."""
  model = transformers.AutoModelForCausalLM.from_pretrained(
    directory, dtype=torch.float32, attn_implementation='eager'
  ).eval()
  tokens = torch.tensor(hf_checkpoints.prompt()[None].astype(np.int64))
  with torch.no_grad():
    logits = model(tokens).logits[0].numpy()
    new = hf_checkpoints.NEW
    out = model.generate(
      tokens, max_new_tokens=new, min_new_tokens=new, do_sample=False,
      attention_mask=torch.ones_like(tokens), eos_token_id=None,
      pad_token_id=0,
    )  # fmt: skip
  return logits, out[0, len(logits) :].numpy().astype(np.int32)


def main():
  arrays = {}
  for name, config in hf_checkpoints.CASES.items():
    with tempfile.TemporaryDirectory() as folder:
      directory = hf_checkpoints.write(pathlib.Path(folder), config)
      logits, tokens = reference(directory)
    arrays |= {f'{name}/logits': logits, f'{name}/tokens': tokens}
    gaps = np.sort(logits)[:, -1] - np.sort(logits)[:, -2]
    print(name, 'smallest gap', gaps.min(), 'tokens', len(set(tokens.tolist())))
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
