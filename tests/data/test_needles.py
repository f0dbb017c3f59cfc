"""Rows with a note, at every depth, and its question at the end."""

import numpy as np
import pytest

from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import needles

TOKENIZER = ByteTokenizer(tuple(str(n) for n in range(100)))
HAY = TOKENIZER.encode('lorem ipsum dolor ')


def test_rows():
  rng = np.random.default_rng(0)
  tokens, is_answer, part = needles.make(TOKENIZER.encode, HAY, 64, 8, rng)
  assert tokens.shape == is_answer.shape == (8, 64)
  assert part.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
  places = []
  for row, answer in zip(tokens, is_answer, strict=True):
    text = TOKENIZER.decode(row)
    before, _, said = text.rpartition('note ')
    name, number = said[0], said[1:]
    assert needles.note(name, int(number)) in before
    assert TOKENIZER.decode(row[answer]) == number
    places.append(before.index('note '))
  assert places == sorted(places) and places[0] < 8 and places[-1] > 35


def test_a_row_has_room_for_note_and_question():
  rng = np.random.default_rng(0)
  # 'note k42\n' and 'note k42', the number a token: 8 and 7.
  needles.make(TOKENIZER.encode, HAY, 15, 1, rng)
  with pytest.raises(ValueError, match='a row of 14 tokens is too short .* 15'):
    needles.make(TOKENIZER.encode, HAY, 14, 1, rng)
