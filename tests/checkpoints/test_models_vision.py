"""A policy that sees, drawn here, is a Qwen3-VL on disk, and comes back."""

import json
import threading

import jax
import numpy as np
import pytest
import small_run
import small_sight

from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.config import checks
from k15.runtime import context as context_lib
from k15.runtime import weights

WORDS = 'how many ', 'see '


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """The context that drew a policy, its parameters and its directory."""
  folder = tmp_path_factory.mktemp('sight')
  context = small_sight.make_context(folder, tokenizer__words=WORDS)
  params, directory = weights.init_params(context.layout, 3), folder / 'model'
  models.save(
    directory, context.shape, params, context.task.tokenizer, 120,
    models.Origin('sft', 4, 4), None, processor=context.layout.sight.processor,
  )  # fmt: skip
  return context, params, directory


def test_it_is_a_directory_of_qwen3_vl(saved):
  context, _, directory = saved
  raw = json.loads((directory / 'config.json').read_text())
  assert raw['architectures'] == ['Qwen3VLForConditionalGeneration']
  assert raw['image_token_id'] == context.task.tokenizer.image_id == 260
  assert raw['vision_config']['depth'] == 1
  assert json.loads((directory / models.BYTE_TOKENIZER).read_text()) == {
    'words': list(WORDS)
  }
  found = hf_config.read_processor(directory)
  assert found == context.layout.sight.processor


def test_shape_sight_and_tokenizer_come_back(saved):
  context, _, directory = saved
  sight = models.read_sight(directory)
  assert sight.keys() == set(models.SIGHT)
  for name, value in sight.items():
    assert value == getattr(context.shape, name), name
  ours = context.task.tokenizer
  for tokenizer in (
    models.read_tokenizer(directory), models.make_tokenizer(str(directory), ())
  ):  # fmt: skip
    assert tokenizer.words == WORDS
    for name in ('pad_id', 'eos_id', 'image_id', 'vocab_size'):
      assert getattr(tokenizer, name) == getattr(ours, name), name
  assert models.make_tokenizer('', WORDS).image_id == -1


def context_from(directory, folder, **changes):
  """Of another run, which begins with the model, as `k15.main` makes it."""
  changes = small_sight.changes_of(**changes, checkpoint=str(directory))
  config = small_run.make_config(folder, **changes)
  config.policy.update(d_model=8, head_dim=12)  # The checkpoint's count.
  context_lib.adopt_checkpoint(config)
  checks.validate(config, jax.device_count(), config.task.kinds)
  return context_lib.make(config, folder / 'run', threading.Event())


@pytest.mark.parametrize('enabled', [True, False])
def test_another_run_begins_with_it(saved, enabled, tmp_path):
  """Whether its config asks for a tower or not: the checkpoint has one."""
  context, params, directory = saved
  other = context_from(
    directory, tmp_path, vision__enabled=enabled, vision__width=32,
    vision__min_pixels=0, vision__max_pixels=0,
  )  # fmt: skip
  assert other.shape == context.shape
  assert other.layout.sight == context.layout.sight
  assert tuple(other.config.tokenizer.words) == WORDS
  for ours, theirs in zip(
    context.task.held_out, other.task.held_out, strict=True
  ):
    assert ours == theirs
    np.testing.assert_array_equal(
      *(c.task.encode_prompt(ours.prompt, ours.images)
        for c in (context, other))
    )  # fmt: skip
  loaded = weights.load_params(other, directory)
  jax.tree.map(np.testing.assert_array_equal, loaded, params)
