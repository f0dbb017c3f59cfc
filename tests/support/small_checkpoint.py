"""A whole random checkpoint of Qwen2.5's kind, and problems for it."""

import json

import hf_checkpoints
import hf_tokenizers

VOCAB = 320


def write(directory):
  """Weights, tokenizer, chat template; two ids end a response."""
  hf_tokenizers.write(directory, vocab_size=VOCAB)
  config = hf_checkpoints.CASES['qwen2'] | dict(
    vocab_size=VOCAB, eos_token_id=[2, 0], max_position_embeddings=512
  )
  return hf_checkpoints.write(directory, config)


def write_problems(path, count=24, first=0):
  """MATH's fields, an array, of additions from `first` on; levels 1 to 5."""
  rows = [
    dict(
      problem=f'What is ${i}+1$?',
      answer=str(i + 1),
      type='Algebra',
      difficulty=float(1 + i % 5),
    )
    for i in range(first, first + count)
  ]
  path.write_text(json.dumps(rows))
  return path
