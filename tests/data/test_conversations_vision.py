"""Conversations with pictures: every layout, and each picture expanded once."""

import json

import hf_tokenizers
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import small_talks

from k15.checkpoints import hf_tokenizer
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import conversations
from k15.vision import images
from k15.vision.sight import Sight

A, B = small_talks.url(shade=1), small_talks.url(2, 2, shade=2)
DIGESTS = small_talks.digest(shade=1), small_talks.digest(2, 2, shade=2)
BYTES = ByteTokenizer(sees=True)
SIGHT = Sight(images.Processor(8, 1, 1, 4096), BYTES.image_id, (4,))
USER, SAID = 'is <image> or <image> red?', 'The first.'


def talk(*contents):
  """Messages of the user and of the assistant in turns."""
  roles = ('user', 'assistant') * len(contents)
  return [
    dict(role=r, content=c) for r, c in zip(roles, contents, strict=False)
  ]


def text(words):
  return dict(type='text', text=words)


PARTS = [
  text('is '), dict(type='image'), text(' or '), dict(type='image'),
  text(' red?'),
]  # fmt: skip
LAYOUTS = {
  'marks': dict(messages=talk(USER, SAID), images=[A, B]),
  'pair': dict(prompt=USER, response=SAID, images=[A, B]),
  'prompt of messages': dict(prompt=talk(USER), response=SAID, images=[A, B]),
  'parts': dict(messages=talk(PARTS, [text(SAID)]), images=[A, B]),
  'parts that hold them': dict(
    messages=talk(
      [
        text('is '), dict(type='image', image=A), text(' or '),
        dict(type='image_url', image_url=dict(url=B)), text(' red?'),
      ],
      SAID,
    )
  ),
  'llava': dict(
    id=1,
    image=[A, B],
    conversations=[
      {'from': 'human', 'value': USER}, {'from': 'gpt', 'value': SAID},
    ],
  ),
  'files': dict(messages=talk(USER, SAID), images=['a.png', 'more/b.png']),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'more').mkdir()
  (tmp_path / 'a.png').write_bytes(small_talks.png(shade=1))
  (tmp_path / 'more/b.png').write_bytes(small_talks.png(2, 2, shade=2))
  return tmp_path


def read(path, *rows, **settings):
  path.write_text('\n'.join(map(json.dumps, rows)))
  return list(conversations.read(path, **settings))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout_is_one_conversation(folder, layout):
  kept = {}
  (found,) = read(
    folder / 'rows.jsonl',
    LAYOUTS[layout],
    keep=lambda image, pixels: kept.update({image.digest: pixels}),
  )
  assert found.messages == talk(USER, SAID)
  assert tuple(image.digest for image in found.images) == DIGESTS
  np.testing.assert_array_equal(
    kept[DIGESTS[1]], small_talks.pixels_of(2, 2, shade=2)
  )


def test_structs_of_parquet(folder):
  struct = dict(bytes=small_talks.png(shade=1), path=None)
  rows = [
    dict(messages=talk([dict(type='image', text=None), text('?')], [text('x')]),
         images=[struct]),
    dict(messages=talk([text('no picture')], [text('y')]), images=[]),
  ]  # fmt: skip
  table = pyarrow.Table.from_pylist(rows)
  pyarrow.parquet.write_table(table, folder / 'rows.parquet')
  first, second = conversations.read(folder / 'rows.parquet')
  assert first.messages == talk('<image>?', 'x')
  assert [image.digest for image in first.images] == [DIGESTS[0]]
  assert second[1:] == (talk('no picture', 'y'), ())


def test_where_no_mark_is_they_stand_in_front_of_the_first_turn(folder):
  messages = [dict(role='system', content='s'), *talk('a?', 'b', 'c?', 'd')]
  row = dict(messages=messages, image=A)
  (found,) = read(folder / 'rows.jsonl', row)
  contents = [message['content'] for message in found.messages]
  assert contents == ['s', '<image>a?', 'b', 'c?', 'd']


def test_pictures_behind_the_last_answer_are_left_out(folder):
  row = dict(messages=talk('<image>a?', 'b', 'and <image>?'), images=[A, B])
  (found,) = read(folder / 'rows.jsonl', row)
  assert found.messages == talk('<image>a?', 'b')
  assert [image.digest for image in found.images] == [DIGESTS[0]]


def test_a_mark_without_pictures_is_text(folder):
  (found,) = read(folder / 'rows.jsonl', dict(messages=talk(USER, USER)))
  assert found.messages == talk(USER, USER) and not found.images


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    (dict(messages=talk('<image>', 'x'), images=[A, B]), '1 <image> and 2 pic'),
    (dict(messages=talk('a', '<image>'), image=A), 'message 2: the assistant'),
    (dict(messages=talk(PARTS, 'x')), '2 parts .* 0 hold one, .* none beside'),
    (
      dict(messages=talk([dict(type='image', image=A)], 'x'), image=A),
      '1 parts .* 1 hold one, .* some beside',
    ),
    (dict(messages=talk([dict(type='video')], 'x')), 'message 1: a part of'),
    (dict(prompt='a', response='x', image='../a.png'), 'picture 1: .* not in'),
    (dict(prompt='a', response='x', image='none.png'), 'picture 1: no file'),
    (
      dict(prompt='a', response='x', images=[dict(bytes='?')]),
      "picture 1: no file '\\?'",
    ),
    (
      dict(messages=[dict(role='assistant', content='x')], image=A),
      '0 <image> and 1 pictures, of 0 messages of the user',
    ),
  ],
)
def test_what_is_shown_in_vain_is_named(folder, row, message):
  with pytest.raises(conversations.Unusable, match=f'line 2.*{message}') as one:
    read(folder / 'rows.jsonl', dict(prompt='a', response='b'), row)
  assert str(one.value).count('line 2') == 1
  left_out = []
  good = dict(prompt='a', response='b')
  assert len(read(folder / 'r.jsonl', row, good, on_unusable=left_out.append))
  assert len(left_out) == 1


def test_what_a_store_refuses_is_no_fault_of_the_row(folder):
  def refuse(image, pixels):
    raise images.BadImage('another run')

  with pytest.raises(conversations.DataError, match='another run') as error:
    read(folder / 'rows.jsonl', LAYOUTS['pair'], on_unusable=print, keep=refuse)
  assert not isinstance(error.value, conversations.Unusable)


def images_of(*values):
  row = dict(prompt='a', response='b', images=list(values))
  return conversations.of_row(row, 'here').images


def test_pictures_become_their_tokens_once():
  encode = conversations.make_encode(BYTES, False, '=', 'all', SIGHT)
  tokens, mask = encode(talk('<image>a', 'b', '<image>c', 'd'), images_of(A, B))
  image, eos = BYTES.image_id, BYTES.eos_id
  assert tokens.tolist() == [
    *[image] * 2, *b'a=', *b'b', eos, *[image] * 4, *b'c=', *b'd', eos,
  ]  # fmt: skip
  assert mask.sum() == 4 and not mask[tokens == image].any()
  # Without pictures, the tokens that a policy has which sees none.
  plain = conversations.make_encode(ByteTokenizer(), False, '=', 'all')
  for messages in (talk('a', 'b'), talk(USER, SAID)):
    assert encode(messages)[0].tolist() == plain(messages)[0].tolist()


def test_a_chat_template_writes_around_them(tmp_path):
  tokenizer = hf_tokenizer.HfTokenizer(hf_tokenizers.write(tmp_path / 'hf'))
  start, image, end = 310, 311, 312
  sight = Sight(SIGHT.processor, image, (8,), (start,), (end,), (image,))
  for turns in ('all', 'last'):
    encode = conversations.make_encode(tokenizer, True, '', turns, sight)
    tokens, mask = encode(
      talk('a<image>b', 'c', '<image>', 'd'), images_of(A, B)
    )
    is_seen = np.isin(tokens, (start, image, end))
    places = np.flatnonzero(is_seen).tolist()
    first, second = places[:4], places[4:]
    assert tokens[first].tolist() == [start, image, image, end]
    assert tokens[second].tolist() == [start, *[image] * 4, end]
    assert first == list(range(first[0], first[0] + 4))
    assert not mask[is_seen].any()
    # What is left is the text around them, as a text would be read.
    words = tokenizer._plain.decode(
      tokens[~is_seen].tolist(), skip_special_tokens=False
    )
    rendered = tokenizer.render(talk('ab', 'c', '', 'd'), False)
    assert words == rendered.rstrip('\n')


def test_placeholders_that_somebody_wrote_are_refused(tmp_path):
  tokenizer = hf_tokenizer.HfTokenizer(hf_tokenizers.write(tmp_path / 'hf'))
  typed = tokenizer.encode_rendered('<|endoftext|>')
  sight = Sight(SIGHT.processor, int(typed[0]), (8,))
  encode = conversations.make_encode(tokenizer, True, '', 'all', sight)
  for messages in (talk('<|endoftext|>', 'x'), talk('x', 'y<|endoftext|>')):
    with pytest.raises(
      conversations.Unusable, match='1 placeholders of pictures, and the 0'
    ):
      encode(messages)


def test_who_sees_nothing_is_shown_nothing():
  encode = conversations.make_encode(ByteTokenizer(), False, '', 'all')
  with pytest.raises(
    conversations.DataError, match='2 pictures, and the policy sees none'
  ) as error:
    encode(talk(USER, SAID), images_of(A, B))
  assert not isinstance(error.value, conversations.Unusable)
