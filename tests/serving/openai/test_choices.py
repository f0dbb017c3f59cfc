"""Texts that end a response are found alike however its tokens come."""

import numpy as np
import pytest

from k15.checkpoints import tokenizer as tokenizer_lib
from k15.rollout.requests import Chunk, NotFinite, Stop
from k15.serving.openai import choices

BYTES = tokenizer_lib.ByteTokenizer((' the',))


def grow(text, stops, size, end=Stop.ENDED):
  """A choice, and the texts of its deltas, as chunks of `size` tokens come."""
  tokens = np.append(BYTES.encode(text), BYTES.eos_id).astype(np.int32)
  choice, texts = choices.Choice(0, BYTES, stops), []
  for start in range(0, len(tokens), size):
    part = tokens[start : start + size]
    stop = end if start + size >= len(tokens) else Stop.RUNNING
    logprobs = -np.ones(len(part), np.float32)
    texts.append(choice.add(Chunk(None, part, logprobs, 0, stop)).text)
    if choice.finish:
      break
  assert ''.join(texts) == choice.text
  assert len(choice.tokens) == len(choice.logprobs)
  return choice, texts


@pytest.mark.parametrize('size', [1, 2, 3, 50])
@pytest.mark.parametrize(
  'text, stops, left, count',
  [
    ('ab\ncd\n\nef', ['\n\n'], 'ab\ncd', 7),  # a b \n c d \n \n
    ('ab the end', ['the'], 'ab ', 3),  # a b ' the'
    ('abc', ['abc', 'b'], 'a', 2),  # 'b' is complete before 'abc' is
    ('aab', ['ab'], 'a', 3),
    ('é漢字', ['字'], 'é漢', 8),  # of 2, 3 and 3 bytes
    ('ab', ['abc'], 'ab', 3),  # what might have become one, and the end
    ('ab', [], 'ab', 3),
  ],
)
def test_a_text_ends_before_the_first_stop(text, stops, left, count, size):
  choice, _ = grow(text, stops, size)
  assert (choice.text, choice.finish) == (left, 'stop')
  assert len(choice.tokens) == count


def test_what_may_begin_a_stop_is_held_back_and_no_more():
  _, texts = grow('a\nb\n\n', ['\n\n'], 1)
  assert texts == ['a', '', '\nb', '', '']


def test_what_a_chunk_adds_stays_what_it_was():
  """Several may wait before anybody looks."""
  choice, ones = choices.Choice(0, BYTES, []), -np.ones(2, np.float32)
  chunks = [np.array(text, np.int32) for text in ([97, 98], [99, 100])]
  deltas = [
    choice.add(Chunk(None, tokens, ones, 0, Stop.RUNNING)) for tokens in chunks
  ]
  assert [delta.tokens for delta in deltas] == [[97, 98], [99, 100]]
  assert [delta.offset for delta in deltas] == [0, 2]
  assert [len(delta.logprobs) for delta in deltas] == [2, 2]


def test_why_a_response_ends():
  assert grow('ab', [], 9)[0].finish == 'stop'
  assert grow('ab', [], 9, Stop.EXHAUSTED)[0].finish == 'length'
  assert grow('ab', [], 9, Stop.REPEATED)[0].finish == 'length'
  with pytest.raises(choices.Lost, match='interrupted'):
    grow('ab', [], 9, Stop.INTERRUPTED)
  token = np.ones(1, np.int32)
  with pytest.raises(NotFinite):
    choices.Choice(0, BYTES, []).add(
      Chunk(None, token, np.full(1, np.nan, np.float32), 0, Stop.RUNNING)
    )


def test_pieces_are_one_a_token_and_make_the_text():
  tokens = [*BYTES.encode('é the'), 0xC3]
  pieces = choices.Pieces(BYTES)
  found = pieces.add(tokens[:2], False) + pieces.add(tokens[2:], True)
  assert found == ['', 'é', ' the', '\ufffd']
