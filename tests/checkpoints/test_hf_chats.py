"""Tokenizers of published models: token for token those of transformers."""

import json
import os
import pathlib
import unicodedata

import hf_chats
import pytest

from k15.checkpoints import hf_tokenizer
from k15.data import conversations

HERE = pathlib.Path(__file__).resolve().parent
# Of make_hf_chats_golden.py.
GOLDEN = json.loads((HERE / 'hf_chats_golden.json').read_text())
PACKAGES = pathlib.Path(
  os.environ.get('K15_TOKENIZERS', HERE.parents[1] / '.cache' / 'tokenizers')
)


@pytest.fixture(scope='module', params=hf_chats.MODELS)
def model(request, tmp_path_factory):
  """Name and tokenizer."""
  if not (PACKAGES / hf_chats.MODELS[request.param][0]).exists():
    pytest.skip(
      f'{PACKAGES} ($K15_TOKENIZERS) has no published tokenizer; to have them:'
      f' {hf_chats.COMMAND}'
    )
  folder = tmp_path_factory.mktemp(request.param)
  directory = hf_chats.unpack(request.param, PACKAGES, folder)
  return request.param, hf_tokenizer.HfTokenizer(directory)


def test_chats(model):
  name, tokenizer = model
  chats = hf_chats.chats_of(name)
  assert set(chats) == set(GOLDEN[name]['chats'])
  for chat, (messages, variables) in chats.items():
    text = tokenizer.render(messages, **variables)
    tokens = tokenizer.encode_rendered(text).tolist()
    assert tokens == GOLDEN[name]['chats'][chat], chat


def test_texts(model):
  name, tokenizer = model
  for text, expected in GOLDEN[name]['texts'].items():
    tokens = tokenizer.begin(hf_chats.TEXTS[text]).tolist()
    assert tokens == expected, text
    # Qwen composes letters and accents.
    form = unicodedata.normalize('NFC', hf_chats.TEXTS[text])
    plain = hf_chats.TEXTS[text] if name == 'llama3_1' else form
    assert tokenizer.decode(tokens) == plain


def test_special_ids(model):
  name, tokenizer = model
  end, start = {
    'qwen3': (151645, []),  # <|im_end|>; no token begins a text.
    'llama3_1': (128009, [128000]),  # <|eot_id|>, <|begin_of_text|>
  }[name]
  assert tokenizer.turn_end_id == tokenizer.eos_id == end
  assert tokenizer.begin('').tolist() == start


def test_what_is_learnt_of_a_chat(model):
  """The prompt of inference, and after it the answer up to its end."""
  name, tokenizer = model
  encode = conversations.make_encode(tokenizer, True, '\n', 'last')
  messages, _ = hf_chats.CHATS['last_thinking']
  tokens, mask = encode(messages)
  prompt = tokenizer.encode_rendered(tokenizer.render(messages[:-1]))
  assert tokens[: len(prompt)].tolist() == prompt.tolist()
  assert not mask[: len(prompt)].any() and mask[len(prompt) :].all()
  words = tokenizer.decode(tokens[len(prompt) :])
  assert (
    words
    == {
      'qwen3': '<think>\nso\n</think>\n\n5',
      'llama3_1': '<think>so</think>5',
    }[name]
  )
  assert tokens[-1] == tokenizer.turn_end_id
