"""RL with pictures from a directory of the hub, as a user types it."""

import json
import pathlib
import threading

import forked
import numpy as np
import pytest
import small_checkpoint
import small_geometry
from safetensors import numpy as safetensors

from experiments import geometry
from k15.checkpoints import hf_config
from k15.config import checks
from k15.data import arithmetic
from k15.runtime import context
from k15.runtime import preparation

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('geometry')
  small_geometry.write(folder / 'model')
  small_geometry.write_problems(folder / 'train.parquet')
  return folder


def test_a_smoke_run_leaves_a_model_that_sees(folder):
  """Its tower has learnt, and the directory has what the first one had."""
  command = [
    'k15.main', f'--config={ROOT}/experiments/geometry.py:smoke',
    f'--workdir={folder / "run"}',
    f'--config.checkpoint={folder / "model"}',
    f'--config.task.train_path={folder / "train.parquet"}',
    # No answer is right: rewards differ by lengths alone.
    '--config.length_reward.weight=0.5',
  ]  # fmt: skip
  result = forked.run(command, ROOT, folder / 'out', dict(JAX_PLATFORMS='cpu'))
  assert result.returncode == 0, result.stdout[-1500:] + result.stderr[-3000:]
  lines = (folder / 'run/metrics.jsonl').read_text().splitlines()
  records = list(map(json.loads, lines))
  encoded = [r['rollout/images_encoded'] for r in records
             if 'rollout/images_encoded' in r]  # fmt: skip
  # A picture once for all of its group, under each of the weights.
  assert encoded[0] == 4 and len(encoded) == 2
  assert max(r.get('rl/grad_norm', 0) for r in records) > 0
  before, after = folder / 'model', folder / 'run/models/rl'
  names = {path.name for path in before.iterdir()}
  added = {'generation_config.json', 'k15.json'}
  assert {path.name for path in after.iterdir()} == names | added
  for name in names - {'config.json', 'model.safetensors'}:
    assert (before / name).read_bytes() == (after / name).read_bytes(), name
  assert hf_config.read_config(after) == hf_config.read_config(before)
  old, new = (
    safetensors.load_file(path / 'model.safetensors')
    for path in (before, after)
  )
  kinds = [{k: (x.shape, x.dtype) for k, x in t.items()} for t in (old, new)]
  assert kinds[0] == kinds[1]
  key = 'visual.blocks.0.attn.qkv.weight'
  assert np.any(old[key] != new[key]) and np.isfinite(new[key]).all()


def make(folder, train='train.parquet', model='model', **vision):
  """A run as `k15.main` makes it, before its first stage."""
  config = geometry.get_config('smoke')
  config.checkpoint = str(folder / model) if model else ''
  config.task.train_path = str(folder / train)
  config.vision.update(vision)
  workdir, config = preparation.prepare(str(folder / 'other'), config)
  return context.make(config, workdir, threading.Event())


def test_pixels_are_those_of_the_config_or_of_the_checkpoint(folder, tmp_path):
  (tmp_path / 'model').symlink_to(folder / 'model')
  small_geometry.write_problems(tmp_path / 'train.parquet')
  made = make(tmp_path)
  sight = made.layout.sight
  assert sight.processor.min_pixels == 64  # the checkpoint's
  assert sight.processor.max_pixels == 4096
  problem = made.task.train[0]
  [image] = problem.images
  tokens = list(made.task.encode_prompt(problem.prompt, problem.images))
  start, end = map(small_geometry.SPECIAL.index, (
    '<|vision_start|>', '<|vision_end|>',
  ))  # fmt: skip
  # 16, 24 or 32 pixels by 40, and 8 by 8 of them are a token.
  first, last = tokens.index(start), tokens.index(end)
  assert last - first - 1 == image.height // 8 * 5
  # Behind the system prompt and the beginning of the user's turn, and once.
  text = made.task.tokenizer.decode(tokens[:first])
  assert 'You are a helpful assistant.' in text and tokens.count(start) == 1


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(model=''), "checkpoint is '', and stage 'rl' would ask"),
    (dict(model='nowhere'), 'is no model'),
    (dict(model='text'), 'sees nothing'),
    (dict(train='nowhere.parquet'), "task.train_path: no file '"),
    (dict(train='broken.parquet'), 'picture 1: no picture: UnidentifiedImage'),
    (dict(train='marks.parquet'), '2 <image> and 1 pictures'),
    (dict(min_pixels=1 << 20), 'above vision.max_pixels, 4096'),
    (dict(max_pixels=32), 'leaves at least 64 and at most 32'),
    (dict(patch_buckets=(8,)), 'there are 0 training problems'),
    (dict(row_patches=8), 'a prompt may have 256'),
  ],
)
def test_what_cannot_run_is_refused_before_it_starts(
  changes, message, folder, tmp_path
):
  for name in ('model', 'train.parquet'):
    (tmp_path / name).symlink_to(folder / name)
  small_checkpoint.write(tmp_path / 'text')
  bad = dict(images=[dict(bytes=b'no picture', path=None)])
  small_geometry.write_problems(tmp_path / 'broken.parquet', **bad)
  bad = dict(problem='<image> and <image>')
  small_geometry.write_problems(tmp_path / 'marks.parquet', **bad)
  with pytest.raises((ValueError, OSError), match=message):
    make(tmp_path, **changes)
  assert not (tmp_path / 'other/config.json').exists()


def test_what_is_planned_can_run():
  config = geometry.get_config()
  config.task.name = 'arithmetic'
  checks.validate(config, 8, arithmetic.KINDS)
  with pytest.raises(ValueError, match="unknown variant 'x'"):
    geometry.get_config('x')
