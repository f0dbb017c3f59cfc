"""The pictures of a run: how its policy is shown them, and where pixels are.

A run writes its pictures once, at its first start, to `images` in the workdir;
all else of it names them by digest.  When it goes on it draws and reads them
again, and stops where one has become another: a new font, a new Pillow or a
file that was changed would otherwise change what it trains on.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from k15.checkpoints import hf_config
from k15.checkpoints import hf_vision
from k15.checkpoints import models
from k15.config import vision_checks
from k15.devices import hosts
from k15.model import policy
from k15.training import group_records
from k15.vision import images as images_lib
from k15.vision import references
from k15.vision import store as store_lib
from k15.vision.shown_rows import Shown
from k15.vision.sight import Sight
from k15.vision.store import ImageStore

T = TypeVar('T')


def seeing(
  config: Any, shape: policy.PolicyConfig, tokenizer: Any
) -> policy.PolicyConfig:
  """The policy with the tower of its checkpoint, or of `config.vision`.

  Raises:
    ValueError: the config asks for a tower beside a checkpoint without one, or
      a stage trains a part of one.
  """
  v = config.vision
  if config.checkpoint:
    found = models.read_sight(models.directory_of(config.checkpoint))
    if v.enabled and found['vision'] is None:
      raise ValueError(
        f'vision.enabled is True, and {config.checkpoint} sees nothing: a tower'
        ' is drawn with a policy of random weights, and for no other'
      )
    if found['vision'] is None:
      vision_checks.refuse_parts(config)
    return dataclasses.replace(shape, **found)
  if not v.enabled:
    return shape
  return dataclasses.replace(shape, **hf_vision.drawn(v, tokenizer.image_id))


def sight_of(config: Any, shape: policy.PolicyConfig) -> Sight | None:
  """How the policy of a config is shown pictures; None: it sees none.

  Raises:
    ValueError: the processor of its checkpoint cannot be used, or not with the
      config's number of pixels, or a bucket of patches is no whole number of
      tokens.
  """
  vision, v = shape.vision, config.vision
  if vision is None:
    return None
  own = images_lib.Processor(vision.patch_size, vision.merge_size, 0, 0)
  if config.checkpoint:
    directory = models.directory_of(config.checkpoint)
    own = hf_config.read_processor(directory)
  processor = dataclasses.replace(
    own,
    min_pixels=v.min_pixels or own.min_pixels,
    max_pixels=v.max_pixels or own.max_pixels,
  )
  if processor.min_pixels > processor.max_pixels:
    raise ValueError(
      f'vision.min_pixels and max_pixels are {v.min_pixels} and {v.max_pixels},'
      f' which with those of {config.checkpoint} leaves at least'
      f' {processor.min_pixels} and at most {processor.max_pixels}'
    )
  buckets, block = tuple(v.patch_buckets), vision.merge_size**2
  if any(bucket % block for bucket in buckets):
    raise ValueError(
      f'vision.patch_buckets is {buckets}, and {block} patches make a token'
    )
  return Sight(
    processor=processor,
    image_id=vision.image_id,
    patch_buckets=buckets,
    start_ids=vision.start_ids,
    end_ids=vision.end_ids,
    banned_ids=shape.banned_ids,
    cache_bytes=v.cache_bytes,
  )


def shown_of(
  config: Any, sight: Sight | None, pictures: ImageStore | None
) -> Shown | None:
  """What lays out the pictures of training; None: the policy sees none.

  Raises:
    ValueError: `vision.row_patches` is no whole number of tokens.
  """
  if sight is None:
    return None
  room, block = config.vision.row_patches, sight.processor.merge_size**2
  if room % block:
    raise ValueError(
      f'vision.row_patches is {room}, and {block} patches make a token'
    )
  return Shown(sight, pictures, room)


def stored(
  workdir: pathlib.Path | None, build: Callable[[references.Keep], T]
) -> tuple[T, ImageStore | None]:
  """What is built, and the store of all pictures that it handed over.

  The first process writes it, and only where there is none.  Without a workdir
  nothing is kept.

  Raises:
    images.BadImage: a picture is not in the store that is there.
  """
  if workdir is None:
    return build(references.forget), None
  directory = workdir / store_lib.FOLDER
  if directory.exists():
    found = ImageStore(directory)
    return build(_checking(found, directory)), found
  if hosts.is_first():
    with store_lib.writing(directory) as add:
      built = build(lambda image, pixels: _add(add, image, pixels))
  else:
    built = build(references.forget)
  hosts.wait(f'{directory}: written')
  return built, ImageStore(directory)


def check(pictures: ImageStore | None, buffer: Mapping[str, Any]) -> None:
  """Asks the store for what a replay buffer names; before any device work.

  Args:
    pictures: the run's.
    buffer: as a checkpoint has it, see `group_records`.

  Raises:
    images.BadImage: names a picture that is not there.
  """
  waiting, remembered, _ = group_records.unpack(buffer)
  groups = [*waiting, *(group for _, group in remembered)]
  for digest in sorted({d for g in groups for d in g.problem.digests}):
    if pictures is None:
      raise images_lib.BadImage(
        f'the checkpoint has the picture {digest}, and the policy sees none'
      )
    pictures.check([digest])


def _add(add, image, pixels):
  add(pixels, image.source)


def _checking(found, directory):
  def keep(image, pixels):
    del pixels
    if image.digest not in found.refs:
      raise images_lib.BadImage(
        f'{image.source!r} now shows {image.digest}, which is not in'
        f' {directory}: this run began with other pictures.  Go on with the'
        ' versions of then, or begin another run'
      )

  return keep
