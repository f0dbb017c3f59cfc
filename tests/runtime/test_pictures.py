"""The pictures of a run: placeholders of prompts, and the store of pixels."""

import dataclasses
import pathlib
import types

import numpy as np
import pytest

from experiments import shapes
from experiments import vision
from k15.checkpoints import hf_config
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.config import checks
from k15.data import arithmetic
from k15.data_types import Problem
from k15.runtime import context
from k15.runtime import pictures
from k15.runtime.task import Task
from k15.training import replay
from k15.vision import images
from k15.vision import references
from k15.vision.sight import Sight

IMAGE, START, END = 300, (301, 303), 302
SIGHT = Sight(
  processor=images.Processor(8, 1, 1, 4096), image_id=IMAGE,
  start_ids=START, end_ids=(END,), banned_ids=(IMAGE,), patch_buckets=(4, 8),
)  # fmt: skip


def picture(rows, columns, value=7):
  """Reference and pixels of so many tokens."""
  pixels = np.full((8 * rows, 8 * columns, 3), value, np.uint8)
  return references.of_pixels(pixels, 'drawn'), pixels


WIDE, TALL = picture(1, 3), picture(2, 1)


class Special:
  """A tokenizer of a chat, in whose text '<pad>' is a placeholder."""

  def __init__(self):
    self.bytes = ByteTokenizer()

  def render(self, chat):
    return f'[{chat[-1]["content"]}]'

  def encode_rendered(self, text):
    head, *others = text.split('<pad>')
    parts = [self.bytes.encode(head)]
    for other in others:
      parts += [[IMAGE], self.bytes.encode(other)]
    return np.concatenate(parts).astype(np.int32)


def make_task(tokenizer=None, sight=SIGHT, **changes):
  return Task(
    tokenizer or ByteTokenizer(), '=', [], [], [], sight=sight, **changes
  )


def ids(text):
  return list(text.encode())


def test_each_placeholder_is_expanded_where_its_mark_stands():
  found = make_task().encode_prompt('a<image>b<image>', (WIDE[0], TALL[0]))
  wide, tall = [*START, *[IMAGE] * 3, END], [*START, *[IMAGE] * 2, END]
  assert found.tolist() == [*ids('a'), *wide, *ids('b'), *tall, *ids('=')]
  assert found.dtype == np.int32 and not found.flags.writeable
  # Without a mark they stand in front.
  found = make_task().encode_prompt('ab', (TALL[0],))
  assert found.tolist() == [*tall, *ids('ab=')]
  chat = make_task(Special(), is_chat=True)
  found = chat.encode_prompt('a<image>b', (TALL[0],))
  assert found.tolist() == [*ids('[a'), *tall, *ids('b=]')]
  # Equal words, another picture: other tokens.
  assert len(chat.encode_prompt('a<image>b', (WIDE[0],))) == len(found) + 1


def test_texts_are_the_tokens_they_were():
  for text in ('1+1', 'a <image> of text'):
    np.testing.assert_array_equal(
      make_task().encode_prompt(text), make_task(sight=None).encode_prompt(text)
    )


@pytest.mark.parametrize(
  ('prompt', 'seen', 'message'),
  [
    ('what is <pad>', (), '1 placeholders of pictures, and 0 pictures'),
    ('<pad><image>?', (TALL[0],), '2 placeholders of pictures, and 1 pictures'),
    ('<image>?', (TALL[0], WIDE[0]), '1 <image> in a prompt, and 2 pictures'),
    ('<image><image>?', (TALL[0],), '2 <image> in a prompt, and 1 pictures'),
    ('?', (WIDE[0],) * 3, '3 pictures have 9 patches, more than the 8'),
  ],
)
def test_what_a_user_types_is_no_picture(prompt, seen, message):
  with pytest.raises(images.BadImage, match=message):
    make_task(Special(), is_chat=True).encode_prompt(prompt, seen)


def build(*drawn):
  """What hands these over."""

  def hand_over(keep):
    for image, pixels in drawn:
      keep(image, pixels)
    return 'built'

  return hand_over


def test_pixels_are_written_once_and_found_again(tmp_path):
  built, store = pictures.stored(tmp_path, build(WIDE, TALL, WIDE))
  assert (built, len(store)) == ('built', 2)
  np.testing.assert_array_equal(store[WIDE[0].digest], WIDE[1])
  before = (tmp_path / 'images/pixels.bin').stat().st_mtime_ns
  _, again = pictures.stored(tmp_path, build(WIDE))
  assert len(again) == 2
  assert (tmp_path / 'images/pixels.bin').stat().st_mtime_ns == before
  assert pictures.stored(None, build(WIDE)) == ('built', None)


def test_a_picture_that_is_drawn_otherwise_stops_the_run(tmp_path):
  pictures.stored(tmp_path, build(WIDE))
  other = picture(1, 3, value=8)
  with pytest.raises(images.BadImage, match=f'now shows {other[0].digest}'):
    pictures.stored(tmp_path, build(other))


def buffer_of(*seen):
  buffer = replay.ReplayBuffer()
  problem = Problem('p', 'how many', '3', images=seen)
  buffer.open([problem], 0, 2)
  return buffer


def test_a_resume_names_the_picture_that_an_emptied_store_lacks(tmp_path):
  state = buffer_of(WIDE[0]).get_state()
  _, store = pictures.stored(tmp_path, build(WIDE))
  pictures.check(store, state)
  for path in pathlib.Path(tmp_path / 'images').iterdir():
    path.unlink()
  (tmp_path / 'images').rmdir()
  _, empty = pictures.stored(tmp_path, build())
  with pytest.raises(images.BadImage, match=f'no picture {WIDE[0].digest}'):
    pictures.check(empty, state)
  with pytest.raises(images.BadImage, match='the policy sees none'):
    pictures.check(None, state)
  pictures.check(None, buffer_of().get_state())


def test_a_buffer_holds_digests_and_no_pixels():
  small, large = picture(1, 1)[0], picture(60, 60)[0]
  sizes = {
    sum(x.nbytes for x in buffer_of(image).get_state().values())
    for image in (small, dataclasses.replace(large, height=8, width=8))
  }
  assert len(sizes) == 1
  other = replay.ReplayBuffer()
  other.set_state(buffer_of(large).get_state())
  assert other.groups[0].problem.images == (large,)


def test_sight_is_that_of_the_config():
  tower = types.SimpleNamespace(
    patch_size=8, merge_size=2, image_id=5, start_ids=(), end_ids=()
  )
  shape = types.SimpleNamespace(vision=tower, banned_ids=(5,))
  settings = types.SimpleNamespace(
    min_pixels=64, max_pixels=4096, patch_buckets=[16, 32], cache_bytes=9
  )
  config = types.SimpleNamespace(checkpoint='', vision=settings)
  sight = pictures.sight_of(config, shape)
  assert sight.processor == images.Processor(8, 2, 64, 4096)
  assert (sight.patch_buckets, sight.image_id) == ((16, 32), 5)
  settings.patch_buckets = [16, 30]
  with pytest.raises(ValueError, match='and 4 patches make a token'):
    pictures.sight_of(config, shape)
  shape.vision = None
  assert pictures.sight_of(config, shape) is None


@pytest.mark.parametrize('family', ['qwen3_vl', 'qwen2_5_vl', 'qwen2_vl'])
def test_a_drawn_policy_is_one_of_a_family(family):
  """What a config draws is written as that family, and read as it was."""
  config = vision.get_config('smoke')
  config.vision.update(family=family, temporal_size=2, merge_size=2)
  if family == 'qwen3_vl':
    config.vision.deepstack = (0,)
  else:
    config.policy.update(qkv_bias=True, qk_norm=False)
  checks.validate(config, 1, arithmetic.KINDS)
  tokenizer = context.make_tokenizer(config)
  shape = context.make_layout(config, tokenizer).shape
  generation = hf_config.Generation(64)
  written, _ = hf_config.to_json(shape, generation, 'float32')
  assert written['model_type'] == family
  assert written['vision_config'].get('temporal_patch_size') == 2


@pytest.mark.parametrize('name', shapes.SEEING)
def test_published_shapes_are_of_their_family(name):
  config = vision.get_config()
  shapes.SEEING[name](config)
  checks.validate(config, 1, arithmetic.KINDS)
  tokenizer = context.make_tokenizer(config)
  layout = context.make_layout(config, tokenizer)
  written, _ = hf_config.to_json(
    layout.shape, hf_config.Generation(64), 'bfloat16'
  )
  assert written['model_type'] == config.vision.family
