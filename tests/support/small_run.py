"""A run so small that its stages take seconds, for the tests of the stages.

One layer of width 16 on a file of 30 problems.
"""

import json
import threading

import jax
import numpy as np

from experiments import base
from k15 import quiet_imports as quiet
from k15.data_types import Group, Problem, Segment, StopReason, Trajectory
from k15.runtime import context

CHANGES = dict(
  task__name='file',
  task__shuffle=False,
  task__held_out_problems=4,
  policy__num_layers=1,
  policy__d_model=16,
  policy__num_heads=2,
  policy__num_kv_heads=1,
  policy__head_dim=8,
  policy__d_ff=32,
  sft__steps=4,
  sft__optimizer='adam',
  sft__batch_tokens=64,
  sft__warmup_steps=1,
  sft__log_every=1,
  rl__iterations=3,
  rl__problems_per_iteration=4,
  rl__group_size=2,
  rl__updates_per_iteration=2,
  rollout__num_slots=4,
  rollout__tokens_per_call=4,
  rollout__max_prompt_length=16,
  rollout__max_length=16,
  rollout__token_budget=6,
  rollout__prefill_batch=2,
  optimizer__micro_batch_rows=2,
  saving__every_iterations=1,
  saving__every_sft_steps=2,
)


def write_problems(path, count=30):
  """JSONL of additions with worked solutions."""
  lines = [
    json.dumps(dict(prompt=f'{i}+1', answer=str(i + 1), response=f'#### {i}'))
    for i in range(count)
  ]
  path.write_text('\n'.join(lines))
  return path


def make_config(folder, **changes):
  """The small config with some keys changed; '__' stands for the dot."""
  config = base.get_config()
  path = write_problems(folder / 'problems.jsonl')
  changes = CHANGES | dict(task__train_path=str(path)) | changes
  for key, value in changes.items():
    group, _, name = key.partition('__')
    if name:
      config[group][name] = value
    else:
      config[group] = value
  return config


def make_group(group_id, rewards, lengths, stops=None, versions=(0,)):
  """Responses whose segments, one per version, share the length evenly."""
  stops = stops or [StopReason.EOS] * len(rewards)
  trajectories = []
  for i, (reward, length) in enumerate(zip(rewards, lengths, strict=True)):
    part = length // len(versions)
    segments = tuple(
      Segment(
        np.arange(part, dtype=np.int32) + 40 + 7 * i,
        np.zeros(part, np.float32),
        version,
      )
      for version in versions
    )
    trajectories.append(
      Trajectory(group_id, f'p{group_id}', i, segments, stops[i], reward)
    )
  problem = Problem(f'p{group_id}', f'{group_id}+1', 'x')
  return Group(group_id, problem, tuple(trajectories))


def make_context(folder, workdir='run', **changes):
  """A context of `make_config` in folder / workdir."""
  folder.mkdir(exist_ok=True, parents=True)
  config = make_config(folder, **changes)
  return context.make(config, folder / workdir, threading.Event())

def saved_arrays(context, stage):
  """Names of the arrays of a stage's checkpoints."""
  names = set()
  for step in (context.workdir / 'checkpoints' / stage).iterdir():
    tree = quiet.ocp.StandardCheckpointHandler().metadata(step / 'state').tree
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names |= {jax.tree_util.keystr(path) for path, _ in leaves}
  return names
