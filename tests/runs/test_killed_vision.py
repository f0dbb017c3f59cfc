"""A run with pictures, killed in the midst of its stages, ends the same.

The run is `experiments/vision.py:smoke`, a step between two checkpoints.
"""

import json
import pathlib
import time

import forked
import pytest
import thorough

from benchmarks.stress import kill_resume
from k15 import files

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAGES = 'pretrain_text', 'pretrain_tower', 'pretrain_joint', 'sft', 'rl'
FLAGS = [
  f'--config={ROOT}/experiments/vision.py:smoke',
  '--config.task.held_out_problems=4',
  '--config.saving.every_sft_steps=1',
  '--config.saving.every_iterations=1',
  *(f'--config.{stage}.log_every=1' for stage in STAGES[:-1]),
]


def start(workdir):
  return forked.start(
    ['k15.main', f'--workdir={workdir}', *FLAGS],
    ROOT,
    workdir.with_suffix(f'.{time.time_ns()}'),
    dict(JAX_PLATFORMS='cpu'),
  )


def finish(process):
  done = process.finish()
  assert done.returncode == 0, done.stderr[-3000:]
  return done


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('killed') / 'undisturbed'
  finish(start(workdir))
  return workdir


def test_a_run_is_asked_with_its_pictures_swapped(undisturbed):
  """`benchmarks.quality.shuffled_pictures`, of what has learnt nothing."""
  command = 'benchmarks.quality.shuffled_pictures'
  found = finish(
    forked.start(
      [command, str(undisturbed), '--problems=24'],
      ROOT,
      undisturbed.with_name('swapped'),
      dict(JAX_PLATFORMS='cpu'),
    )
  )
  name, _, line = found.stdout.splitlines()[-1].partition(' ')
  result = json.loads(line)
  assert name == 'RESULT' and result['problems'] >= 4
  for pictures in ('own_pictures', 'swapped_pictures'):
    interval = result[pictures]
    assert 0 <= interval['low'] <= interval['value'] <= interval['high'] <= 1


@pytest.mark.parametrize(
  'kills',
  thorough.after([[('rl', 1)], [('pretrain_tower', 3), ('rl', 1)]]),
  ids=len,
)
def test_a_run_killed_in_its_stages_ends_the_same(undisturbed, kills):
  workdir = undisturbed.with_name(f'killed-{len(kills)}')

  def steps(stage):
    """Records of it: one of the examples, then one a step."""
    records = files.read_jsonl(workdir / 'metrics.jsonl')
    return sum(record['stage'] == stage for record in records)

  # In the isolated tower, where the language model is in no checkpoint, and in
  # RL, whose buffer names pictures.
  for stage, least in kills:
    process = start(workdir)
    while process.poll() is None and steps(stage) < least:
      time.sleep(0.002)
    assert process.poll() is None, stage
    process.kill()
    assert process.wait() == -9
    made = {path.name for path in (workdir / 'models').glob('*')}
    assert made == set(STAGES[: STAGES.index(stage)])
  finish(start(workdir))
  left, right = map(kill_resume.state_of, (undisturbed, workdir))
  assert not kill_resume.differences(left, right)
  for stage in STAGES:
    one, other = (
      (folder / 'models' / stage / 'model.safetensors').read_bytes()
      for folder in (undisturbed, workdir)
    )
    assert one == other, stage
  twice, lost = kill_resume.count_responses(right, 2)
  assert (twice, lost) == (0, 0)
