"""Streamed text is the tokenizer's own, whatever tokens a policy samples."""

import functools
import itertools
import json

import hf_tokenizers
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import trainers

from k15.checkpoints import hf_tokenizer
from k15.checkpoints import tokenizer as tokenizer_lib
from k15.serving import text_stream

TEXTS = [
  'the sum of the numbers is naïve  漢字 漢 🙂👩‍👩‍👧 x² ≤ π\n\tand "so" on. ',
  ' leading and trailing spaces  ',
  'é\u0301 \u200b\ufeff \ufffd',
]
# Of several scripts and lengths in UTF-8; U+FFFD is a character, too.
ALPHABET = ' \n\taße漢字🙂π²\u0301\u200d\ufffd<0x41>▁#.1'


def byte_level():
  tokenizer = tokenizers.Tokenizer(models.BPE())
  level = pre_tokenizers.ByteLevel
  tokenizer.pre_tokenizer = level(add_prefix_space=False)
  tokenizer.decoder = decoders.ByteLevel()
  return tokenizer, trainers.BpeTrainer(
    vocab_size=290,
    special_tokens=list(hf_tokenizers.SPECIAL),
    initial_alphabet=sorted(level.alphabet()),
    show_progress=False,
  )


def metaspace():
  tokenizer = tokenizers.Tokenizer(models.Unigram())
  tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
  tokenizer.decoder = decoders.Metaspace()
  return tokenizer, trainers.UnigramTrainer(
    vocab_size=150,
    special_tokens=[*hf_tokenizers.SPECIAL, '<unk>'],
    unk_token='<unk>',
    show_progress=False,
  )


def byte_fallback():
  """As Llama 2 and Mistral have it: what no piece writes, bytes do."""
  tokenizer = tokenizers.Tokenizer(models.BPE(byte_fallback=True))
  tokenizer.normalizer = normalizers.Sequence(
    [normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')]
  )
  tokenizer.decoder = decoders.Sequence(
    [
      decoders.Replace('▁', ' '),
      decoders.ByteFallback(),
      decoders.Fuse(),
      decoders.Strip(' ', 1, 0),
    ]
  )
  return tokenizer, trainers.BpeTrainer(
    vocab_size=300,
    special_tokens=list(hf_tokenizers.SPECIAL),
    initial_alphabet=list('thesumofn▁'),
    limit_alphabet=12,
    show_progress=False,
  )


def word_piece():
  tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token='[UNK]'))
  tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
  tokenizer.decoder = decoders.WordPiece()
  return tokenizer, trainers.WordPieceTrainer(
    vocab_size=200,
    special_tokens=[*hf_tokenizers.SPECIAL, '[UNK]'],
    show_progress=False,
  )


KINDS = dict(
  byte_level=byte_level,
  metaspace=metaspace,
  byte_fallback=byte_fallback,
  word_piece=word_piece,
)


@functools.cache
def make(kind, folder):
  if kind == 'bytes':
    return tokenizer_lib.ByteTokenizer((' the', '漢字', 'ï'))
  hf_tokenizers.write(folder, vocab_size=640)
  tokenizer, trainer = KINDS[kind]()
  tokenizer.train_from_iterator(TEXTS, trainer)
  made = json.loads(tokenizer.to_str())
  if kind == 'byte_fallback':  # A trainer makes no such pieces.
    vocab = made['model']['vocab']
    vocab |= {f'<0x{b:02X}>': len(vocab) + b for b in range(256)}
  (folder / 'tokenizer.json').write_text(json.dumps(made))
  return hf_tokenizer.HfTokenizer(folder)


@pytest.fixture(params=['bytes', *KINDS])
def tokenizer(request, tmp_path_factory):
  folder = tmp_path_factory.getbasetemp() / request.param
  return make(request.param, folder)


def stream(tokenizer, ids, sizes):
  """Pieces of the text as chunks of these sizes come, over and over."""
  made = text_stream.TextStream(tokenizer.decode, tokenizer.is_open)
  ids, pieces = list(ids), []
  for size in itertools.cycle(sizes):
    if not ids:
      break
    pieces.append(made.add(ids[:size]))
    ids = ids[size:]
  return [*pieces, made.close()]


def random_text(rng):
  letters = list(ALPHABET)
  return ''.join(rng.choice(letters, rng.integers(0, 60)))


def test_texts_come_back_in_whole_characters(tokenizer):
  rng = np.random.default_rng(0)
  for text in [*TEXTS, *(random_text(rng) for _ in range(60))]:
    ids = tokenizer.encode(text).tolist()
    whole = tokenizer.decode(ids)
    for sizes in ([1], [2], [7], [3, 1, 40]):
      pieces = stream(tokenizer, ids, sizes)
      assert ''.join(pieces) == whole
      assert ''.join(pieces).count('\ufffd') == whole.count('\ufffd')


def test_any_tokens_have_the_text_of_all_of_them(tokenizer):
  """As a policy samples them: halves of characters, special tokens, any id."""
  rng = np.random.default_rng(1)
  for length in (1, 2, 3, 30, 300, 1000):
    for _ in range(8):
      ids = rng.integers(-1, tokenizer.vocab_size + 2, length).tolist()
      whole = tokenizer.decode(ids)
      for sizes in ([1], [5], [64, 1]):
        assert ''.join(stream(tokenizer, ids, sizes)) == whole


def test_runs_of_half_characters(tokenizer):
  """Bytes alone: of characters that are cut, that never end, and of none."""
  rng = np.random.default_rng(2)
  if isinstance(tokenizer, tokenizer_lib.ByteTokenizer):
    of_byte = list(range(256))
  else:
    plain = tokenizers.Tokenizer.from_str(tokenizer._plain.to_str())
    of_byte = [plain.token_to_id(f'<0x{byte:02X}>') for byte in range(256)]
    if of_byte[0] is None:
      of_byte = list(range(3, min(259, tokenizer.vocab_size)))
  for text in ('漢🙂' * 40, '漢🙂'[:1] * 90, 'ab' * 50):
    data = list(text.encode())
    for _ in range(6):
      cut = list(data)
      for _ in range(rng.integers(0, 4)):
        del cut[rng.integers(len(cut))]
      ids = [of_byte[byte % len(of_byte)] for byte in cut]
      ids.insert(int(rng.integers(len(ids))), tokenizer.eos_id)
      whole = tokenizer.decode(ids)
      for sizes in ([1], [3], [50]):
        assert ''.join(stream(tokenizer, ids, sizes)) == whole


def test_nothing_waits_longer_than_it_has_to(tmp_path):
  """'é' is 0xC3 0xA9, and text that cannot change any more is there at once."""
  made = tokenizer_lib.ByteTokenizer((' the',))
  pieces = stream(made, [97, 0xC3, 0xA9, 256, 98], [1])
  assert pieces == ['a', '', 'é', ' the', 'b', '']
  # A byte that begins nothing is broken only once another follows.
  assert stream(made, [0xFF, 97, 0xC3], [1]) == ['', '\ufffda', '', '\ufffd']


def test_bytes_of_a_fallback_wait_for_the_end_of_their_run(tmp_path):
  """The library writes a run with one wrong byte as U+FFFD from its start."""
  made = make('byte_fallback', tmp_path / 'llama')
  run = [made._plain.token_to_id(f'<0x{b:02X}>') for b in 'é'.encode()]
  wrong = made._plain.token_to_id('<0xFF>')
  t = made.encode('t').tolist()[-1]
  assert stream(made, [t, *run, t], [1]) == ['t', '', '', 'ét', '']
  broken = stream(made, [t, *run, made.eos_id, wrong, t], [1])
  assert broken == ['t', '', '', '', '', '\ufffd\ufffd\ufffdt', '']


def test_few_tokens_are_kept():
  """Decoding is of the last tokens, not of the whole response again."""
  lengths = []

  def decode(ids):
    lengths.append(len(ids))
    return made.decode(ids)

  made = tokenizer_lib.ByteTokenizer()
  texts = ('a' * 5000).encode(), ('漢' * 2000).encode(), b'\xff' * 5000
  for data in texts:
    one = text_stream.TextStream(decode)
    pieces = [one.add(list(data[i : i + 8])) for i in range(0, len(data), 8)]
    assert ''.join([*pieces, one.close()]) == made.decode(data)
  assert max(lengths) < 150
