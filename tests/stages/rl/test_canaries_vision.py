"""What would show too late: pixels in checkpoints, and pictures that are gone.

Trainers elsewhere copied pixels per sample and queue until their hosts were
full, and went on without pictures that they had lost.
"""

import dataclasses
import functools

import pytest
import small_sight

from k15.checkpoints import state as state_lib
from k15.data import picture_problems
from k15.runtime import weights
from k15.stages.rl import loop
from k15.training import group_records
from k15.vision import images
from k15.vision import references
from k15.vision import store as store_lib

CHANGES = dict(
  stages=('rl',), rl__iterations=1, vision__image_share=1.0,
  vision__rl_image_share=1.0,
  vision__domains=('count',), vision__patch_buckets=(64,),
)  # fmt: skip


def train(context):
  draw = functools.partial(weights.load_params, context, None)
  return loop.train(context, draw)


def enlarged(drawn):
  """The problem, with four pixels for each of its pictures."""
  pictures = tuple(p.repeat(2, 0).repeat(2, 1) for p in drawn.pictures)
  shown = tuple(references.of_pixels(p, 'large') for p in pictures)
  problem = dataclasses.replace(drawn.problem, images=shown)
  return dataclasses.replace(drawn, problem=problem, pictures=pictures)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Contexts of an iteration on pictures of 32 x 32 and of 64 x 64."""
  folder = tmp_path_factory.mktemp('canaries')
  small = small_sight.make_context(folder / 'small', **CHANGES)
  make = picture_problems.make_problems
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      picture_problems, 'make_problems',
      lambda *args: [enlarged(each) for each in make(*args)],
    )  # fmt: skip
    large = small_sight.make_context(folder / 'large', **CHANGES)
  for context in (small, large):
    train(context)
  return small, large


def host_of(context):
  """What the checkpoint holds beside arrays of devices."""
  folder = context.workdir / 'checkpoints/rl'
  checkpoints = state_lib.Checkpoints(folder, 1)
  host = checkpoints.host(1)
  checkpoints.close()
  return host


def test_a_checkpoint_does_not_grow_with_the_pictures(runs):
  sizes, pixels = [], []
  for context in runs:
    shown = [p.images[0] for p in context.task.train]
    pixels.append(3 * shown[0].height * shown[0].width)
    host = host_of(context)
    waiting, *_ = group_records.unpack(host['buffer'])
    assert len(waiting) == 4 and all(g.problem.images for g in waiting)
    sizes.append(len(state_lib.pack(host)))
  assert pixels == [3 * 32 * 32, 3 * 64 * 64]
  # One picture more of the small ones would be seen; of numbers that differ,
  # some have more digits.
  assert abs(sizes[0] - sizes[1]) < 256 < pixels[0]


def test_a_resume_without_its_pictures_names_one_before_any_work(runs):
  context, _ = runs
  context.config.rl.iterations = 2
  store_lib.write(context.workdir / 'none', ())
  empty = store_lib.ImageStore(context.workdir / 'none')
  blind = dataclasses.replace(context, pictures=empty)
  with pytest.MonkeyPatch.context() as patch:
    for name in ('resume', 'device_layout', 'begin'):
      patch.setattr(loop.setup, name, lambda *args: pytest.fail('worked'))
    with pytest.raises(images.BadImage, match='/none has no picture [0-9a-f]'):
      train(blind)
  # The same of the run's own folder, at once as it is begun again.
  store_lib.write(context.workdir / 'images', ())
  with pytest.raises(images.BadImage, match='now shows [0-9a-f]{64}, which is'):
    small_sight.make_context(context.workdir.parent, **CHANGES)
