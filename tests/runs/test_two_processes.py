"""Two processes over one mesh: as one process, and as if none was ever killed.

SFT and RL of `small_run` on two devices each, data 2 x fsdp 2, joined by gloo.
"""

import json
import pathlib
import signal
import time

import forked
import numpy as np
import pytest
import small_run
from safetensors import numpy as safetensors

from benchmarks.stress import chaos_parts
from k15 import files

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHANGES = small_run.CHANGES | dict(
  mesh__data=2,
  mesh__fsdp=2,
  sft__steps=20,
  sft__learning_rate=0.02,
  optimizer__micro_batch_rows=4,
  rollout__prefill_batch=4,
  # Lengths differ, and so do the rewards of answers that are all wrong.
  length_reward__weight=1.0,
  rl__iterations=4,
  saving__every_sft_steps=10,
  saving__keep=9,
)
DEADLINE = 900  # seconds for anything, on however busy a machine


@pytest.fixture(scope='module')
def problems(tmp_path_factory):
  """Answers so short that a few steps teach how long they are."""
  path = tmp_path_factory.mktemp('data') / 'problems.jsonl'
  rows = [
    dict(prompt=f'{i}+1', answer=str(i % 2), response=f'#### {i % 2}')
    for i in range(30)
  ]
  path.write_text('\n'.join(map(json.dumps, rows)))
  return path


class Run:
  """The processes of one run."""

  def __init__(self, problems, workdir, count, **changes):
    changes = CHANGES | dict(task__train_path=str(problems)) | changes
    if count > 1:
      port = chaos_parts.free_port()
      changes |= dict(
        mesh__coordinator=f'localhost:{port}',
        mesh__num_processes=count,
        mesh__process_id=-1,
      )
    self.workdir = workdir
    command = [
      'k15.main',
      f'--config={ROOT / "experiments/base.py"}',
      f'--workdir={workdir}',
      *(f'--config.{k.replace("__", ".")}={v}' for k, v in changes.items()),
    ]
    environment = dict(
      JAX_PLATFORMS='cpu', JAX_NUM_CPU_DEVICES=str(4 // count)
    )
    self.processes = [
      forked.start(
        command,
        ROOT,
        f'{workdir}.{i}.{time.time_ns()}',
        environment | dict(K15_PROCESS_ID=str(i)),
      )
      for i in range(count)
    ]

  def wait(self, *expected):
    """Waits for all processes; their exit codes are the expected ones."""
    codes = [process.wait(DEADLINE) for process in self.processes]
    assert codes == list(expected), self.texts()

  def texts(self):
    return [
      p.stdout.read_text() + p.stderr.read_text() for p in self.processes
    ]

  def rows(self, name='metrics.jsonl'):
    """Records without times."""
    return [
      {k: v for k, v in row.items() if not k.startswith('time')}
      for row in files.read_jsonl(self.workdir / name)
    ]

  def weights(self, stage):
    path = self.workdir / 'models' / stage / 'model.safetensors'
    return safetensors.load_file(path)


@pytest.fixture(scope='module')
def two(problems, tmp_path_factory):
  run = Run(problems, tmp_path_factory.mktemp('two') / 'run', 2)
  run.wait(0, 0)
  return run


def test_they_compute_what_one_process_does(problems, two, tmp_path):
  one = Run(problems, tmp_path / 'run', 1)
  one.wait(0)
  pairs = zip(one.rows(), two.rows(), strict=True)
  for left, right in pairs:
    assert left.keys() == right.keys()
    for key in left:
      if isinstance(left[key], float):
        assert left[key] == pytest.approx(right[key], 1e-4, 1e-5), key
      else:
        assert left[key] == right[key]
  assert any(row.get('rl/grad_norm', 0) > 1e-3 for row in one.rows())
  for name in ('groups.jsonl', 'evaluation_sft.jsonl', 'evaluation_rl.jsonl'):
    assert one.rows(name) == two.rows(name)
  for stage in ('sft', 'rl'):
    left, right = one.weights(stage), two.weights(stage)
    assert left.keys() == right.keys()
    for key in left:
      np.testing.assert_allclose(left[key], right[key], rtol=0, atol=2e-5)


def test_only_the_first_writes(two):
  first, second = two.texts()
  assert 'report: ' in first and 'after rl: ' in first
  assert 'report: ' not in second and 'after' not in second
  config = json.loads((two.workdir / 'config.json').read_text())
  assert config['mesh']['num_processes'] == 2
  steps = [row['step'] for row in two.rows() if row['stage'] == 'rl']
  assert steps == [0, 1, 2, 3]


def test_one_is_killed_and_both_go_on_bit_for_bit(problems, two, tmp_path):
  run = Run(problems, tmp_path / 'run', 2)
  end = time.monotonic() + DEADLINE
  # In the middle of RL: one iteration is saved, and others are not.
  saved = run.workdir / 'checkpoints' / 'rl' / '1'
  while not saved.exists():
    assert time.monotonic() < end and run.processes[0].poll() is None
    time.sleep(0.01)
  run.processes[1].send_signal(signal.SIGKILL)
  run.wait(1, -signal.SIGKILL)
  assert 'k15: process 0 of 2 ends, since it or another one' in run.texts()[0]
  assert not (run.workdir / 'models' / 'rl').exists()
  again = Run(problems, run.workdir, 2)
  again.wait(0, 0)
  for stage in ('sft', 'rl'):
    left, right = two.weights(stage), again.weights(stage)
    assert left.keys() == right.keys()
    for key in left:
      assert left[key].tobytes() == right[key].tobytes()
  for name in ('metrics.jsonl', 'groups.jsonl', 'trajectories.jsonl'):
    assert again.rows(name) == two.rows(name)


def test_what_only_the_first_reads_ends_both(problems, tmp_path):
  talks = tmp_path / 'talks.jsonl'
  talks.write_text('{"prompt": "a"}')
  run = Run(
    problems,
    tmp_path / 'run',
    2,
    stages="('sft',)",
    sft__files=f"('{talks}',)",
    sft__packing='first_fit',
  )
  run.wait(1, 1)
  assert "line 1: neither 'messages' nor" in run.texts()[0]
