"""Bytes and words to ids and back."""

import numpy as np
import pytest

from k15.checkpoints.tokenizer import ByteTokenizer

TEXTS = (
  '',
  'plain',
  'try 12*12=144\nanswer 12',
  'tritry try answer',
  'naïve 漢字 🙂 \x00\x7f\u2028',
  'try\u00a0try ',
)


def test_ids_of_bytes_words_and_specials():
  tokenizer = ByteTokenizer(('try ', 'answer '))
  # 'a' is byte 97; 'try ' and 'answer ' are the ids after the 256 bytes.
  ids = tokenizer.encode('try aanswer ')
  assert ids.dtype == np.int32
  np.testing.assert_array_equal(ids, [256, 97, 257])
  assert (tokenizer.pad_id, tokenizer.eos_id) == (258, 259)
  # 260 ids are in use; the next multiple of 64 is 5 * 64 = 320.
  assert tokenizer.vocab_size == 320


def test_one_that_sees_has_a_placeholder_that_no_text_encodes_to():
  blind, sees = ByteTokenizer(('try ',)), ByteTokenizer(('try ',), sees=True)
  assert (blind.image_id, sees.image_id) == (-1, 259)
  assert (sees.pad_id, sees.eos_id) == (blind.pad_id, blind.eos_id)
  assert sees.eos_ids == (258,) and sees.decode([259]) == ''
  text = 'try <image> \u0103\x00'
  np.testing.assert_array_equal(sees.encode(text), blind.encode(text))
  # 256 + 1 word + pad, eos and picture; with 61 words they are 320, and with
  # one more the picture needs 64 others.
  assert sees.vocab_size == 320
  words = [f'word{i:02} ' for i in range(62)]
  assert ByteTokenizer(words[1:], sees=True).vocab_size == 320
  assert ByteTokenizer(words, sees=True).vocab_size == 384
  assert ByteTokenizer(words).vocab_size == 320


def test_vocabulary_is_not_rounded_up_twice():
  # 256 bytes + 62 words + pad and eos = 320 = 5 * 64 already.
  words = [f'word{i:02} ' for i in range(62)]
  assert ByteTokenizer(words).vocab_size == 320
  assert ByteTokenizer([*words, 'one more']).vocab_size == 384


def test_longest_word_wins():
  tokenizer = ByteTokenizer(('no', 'nowhere', 'now'))
  np.testing.assert_array_equal(
    tokenizer.encode('nowherenowno'), [257, 258, 256]
  )
  # Greedy from the left: 'ab' is taken, although 'bc' is then lost.
  np.testing.assert_array_equal(
    ByteTokenizer(('ab', 'bc')).encode('abc'), [256, ord('c')]
  )


def test_words_may_hold_signs_of_regular_expressions():
  tokenizer = ByteTokenizer(('x*x+', '#### ', '(', '[a-z]'))
  np.testing.assert_array_equal(
    tokenizer.encode('x*x+(#### [a-z]x'), [256, 258, 257, 259, ord('x')]
  )


@pytest.mark.parametrize('words', [(), ('try ', 'answer ', 'try 1', '漢')])
@pytest.mark.parametrize('text', TEXTS)
def test_round_trip(words, text):
  tokenizer = ByteTokenizer(words)
  assert tokenizer.decode(tokenizer.encode(text)) == text


def test_round_trip_of_random_text():
  rng = np.random.default_rng(0)
  tokenizer = ByteTokenizer(('aa', 'ab', 'aba', 'b\n', 'é', 'éa'))
  for _ in range(300):
    text = ''.join(rng.choice(list('ab\né🙂'), size=rng.integers(40)))
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids.size == 0 or ids.max() < tokenizer.pad_id


def test_hostile_ids_are_skipped():
  tokenizer = ByteTokenizer(('try ',))
  ids = [-1, 104, tokenizer.pad_id, 105, tokenizer.eos_id, 319, 320, 10**30]
  assert tokenizer.decode(ids) == 'hi'
  assert tokenizer.decode(np.array(ids[:-1])) == 'hi'
  assert tokenizer.decode([]) == ''


def test_broken_utf8_is_replaced_and_can_be_printed():
  # 0xff is in no UTF-8 text; ed a0 80 would be a lone surrogate.
  text = ByteTokenizer().decode([0xFF, 104, 0xED, 0xA0, 0x80])
  assert text == '\ufffdh\ufffd\ufffd\ufffd'
  text.encode('utf-8')
  assert ByteTokenizer().decode(ByteTokenizer().encode('a\ud800')) == 'a?'


@pytest.mark.parametrize(
  ('words', 'message'),
  [(('a', ''), 'word 1 of 2 is empty'), (('a', 'b', 'a'), "'a' comes 2 times")],
)
def test_refused_words(words, message):
  with pytest.raises(ValueError, match=message):
    ByteTokenizer(words)
