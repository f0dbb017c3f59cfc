"""What a k15 benchmark runs: the model, config and context of a real run.

Everything is made the way `k15.main` makes it, from `experiments/base.py`;
only tokenizer, problems and logs are the benchmark's own.
"""

import functools
import itertools
import pathlib
import random
import tempfile
import threading
import types

import flax.linen as nn
import jax
import numpy as np

from benchmarks.peers import worker_side as side
from experiments import base
from k15 import context as context_lib
from k15 import judges
from k15 import logs
from k15 import policy
from k15 import rl_stage
from k15 import task as task_lib
from k15.data_types import Problem

SETTINGS = {
  # Lengths are given here: what reaches them earns as in the peers.
  'reward.cut_is_wrong': False,
  'policy.num_layers': 4,
  'policy.d_model': 256,
  'policy.num_heads': 4,
  'policy.num_kv_heads': 2,
  'policy.head_dim': 64,
  'policy.d_ff': 768,
  'policy.rope_theta': 1e6,
  'policy.logprob_chunk': 16384,  # all logits at once: the vocabulary is small
  'task.prompt_suffix': '',
  'rl.problems_per_iteration': side.PROMPTS,
  'rl.group_size': side.SAMPLES,
  'rl.updates_per_iteration': 1,
  'rl.log_trajectories': 0,
  'rollout.num_slots': side.ROWS,
  'rollout.tokens_per_call': 128,
  'rollout.prefill_batch': side.PROMPTS,
  'rollout.max_prompt_length': side.PROMPT_TOKENS,
  'rollout.temperature': 1.0,
  'rollout.repetition_count': 0,
  'rollout.repetition_max_period': 1,
  'loss.method': 'mirror_descent',
  'loss.tau': 0.1,
  'optimizer.name': 'adam',
  'optimizer.learning_rate': 1e-5,
  'optimizer.clip_norm': 1.0,
  'optimizer.micro_batch_rows': side.ROWS,
}


def make_tokenizer(end):
  """A word per id."""

  def encode(text):
    return np.array(text.split(), np.int32)

  return types.SimpleNamespace(
    encode=encode,
    begin=encode,
    decode=lambda ids: side.as_text(ids.tolist()),
    eos_id=end,
    eos_ids=(end,),
    pad_id=0,
    vocab_size=side.VOCAB,
  )


def make_problems(prompts):
  return [
    Problem(id=str(i), prompt=side.as_text(prompt), answer='')
    for i, prompt in enumerate(prompts)
  ]


def ragged_problems(count):
  """Problems with prompts of 1 to PROMPT_TOKENS tokens."""
  rng = random.Random(count)
  return make_problems(
    prompt[: rng.randint(1, side.PROMPT_TOKENS)]
    for prompt in side.random_prompts(count, count)
  )


def make_context(problems, settings, end=side.END):
  """What a run has, but for files: nothing is logged."""
  config = base.get_config()
  config.update_from_flattened_dict(SETTINGS | settings)
  folder = pathlib.Path(tempfile.gettempdir())
  task = task_lib.Task(
    tokenizer=make_tokenizer(end),
    prompt_suffix=config.task.prompt_suffix,
    train=problems,
    held_out=[],
    examples=[],
  )
  return context_lib.Context(
    config=config,
    workdir=folder,
    layout=context_lib.make_layout(config, task.tokenizer),
    task=task,
    scorer=judges.make_scorer(config, task),
    logger=logs.Logger(folder, enabled=False),
    stop=threading.Event(),
  )


def of_length(tokens):
  return {'rollout.max_length': tokens, 'rollout.token_budget': tokens}


def make_params():
  """Random weights, as a fresh run has them."""
  shape = make_context([], {}).shape
  init = functools.partial(policy.init, shape)
  return jax.jit(lambda key: nn.unbox(init(key)))(jax.random.key(0))


def make_session(params, problems, settings, end=side.END):
  """The stage of `k15.rl`, with weights of its own: its updates consume them,
  and the numbers of its iterations."""
  copies = jax.tree.map(lambda x: x.copy(), params)
  context = make_context(problems, settings, end)
  stage = rl_stage.begin(context, copies)
  jax.block_until_ready(stage.state)
  return stage, itertools.count()
