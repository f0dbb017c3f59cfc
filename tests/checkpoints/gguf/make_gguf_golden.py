"""Writes gguf_golden.npz: what transformers reads out of `gguf_files.READ`.

And what it writes after a chat, with SmolLM2.  Run where torch, transformers,
gguf and pytest are installed: PYTHONPATH=tests/support K15_SMOLLM=FOLDER python
tests/checkpoints/gguf/make_gguf_golden.py
"""

import pathlib
import tempfile

import gguf_files
import hf_checkpoints
import numpy as np
import torch
import transformers

GOLDEN = pathlib.Path(__file__).with_name('gguf_golden.npz')


def read(path):
  return transformers.AutoModelForCausalLM.from_pretrained(
    path.parent,
    gguf_file=path.name,
    dtype=torch.float32,
    attn_implementation='eager',
  ).eval()


def reference(path):
  """Float32 logits [T, V] of the prompt."""
  tokens = torch.tensor(hf_checkpoints.prompt()[None].astype(np.int64))
  with torch.no_grad():
    return read(path)(tokens).logits[0].numpy()


def published(path):
  """Tokens [T] of the chat and the NEW after it, and some of their logits."""
  model = read(path)
  tokenizer = transformers.AutoTokenizer.from_pretrained(
    path.parent, gguf_file=path.name
  )
  text = tokenizer.apply_chat_template(
    gguf_files.CHAT, tokenize=False, add_generation_prompt=True
  )
  tokens = tokenizer(text, add_special_tokens=False, return_tensors='pt')
  new = gguf_files.NEW
  with torch.no_grad():
    out = model.generate(
      **tokens, max_new_tokens=new, min_new_tokens=new, do_sample=False,
      eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    logits = model(out).logits[0].numpy()
  return {
    'smollm2/tokens': out[0].numpy().astype(np.int32),
    'smollm2/logits': logits[:, gguf_files.LOGITS],
  }


def main():
  arrays = published(gguf_files.smollm2())
  for name, (config, kind) in gguf_files.READ.items():
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'model.gguf'
      gguf_files.write(path, config, kind=kind)
      arrays[name] = reference(path)
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
