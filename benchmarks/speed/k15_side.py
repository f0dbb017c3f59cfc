"""The side of k15 in a benchmark: what it runs, and what it counts.

Model, config and context are made the way `k15.main` makes them, from
`experiments/base.py`; only tokenizer, problems and logs are the benchmark's
own.
"""

import atexit
import collections
import functools
import itertools
import pathlib
import random
import shutil
import tempfile
import threading
import types

import flax.linen as nn
import jax
import numpy as np

from benchmarks.peers import worker_side as side
from experiments import base
from k15.data_types import Problem, Trajectory
from k15.model import policy
from k15.rollout import partial
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import rollouts
from k15.runtime import task as task_lib
from k15.runtime import weights
from k15.stages.rl import loop
from k15.stages.rl import setup
from k15.training import batching
from k15.training import logs
from k15.training import sequences as sequences_lib
from k15.training import update

RANDOM = {
  'policy.num_layers': 4,
  'policy.d_model': 256,
  'policy.num_heads': 4,
  'policy.num_kv_heads': 2,
  'policy.head_dim': 64,
  'policy.d_ff': 768,
  'policy.rope_theta': 1e6,
  'policy.logprob_chunk': 16384,  # all logits at once: the vocabulary is small
}
SETTINGS = ({} if side.MODEL else RANDOM) | {
  # Lengths are given here: what reaches them earns as in the peers.
  'reward.cut_is_wrong': False,
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
  # Random weights do repeat themselves, and every response has to have its
  # length.
  'rollout.repetition_count': 0,
  'rollout.repetition_max_period': 1,
  'loss.method': 'mirror_descent',
  'loss.tau': 0.1,
  'optimizer.name': 'adam',
  'optimizer.learning_rate': 1e-5,
  'optimizer.clip_norm': 1.0,
  'optimizer.micro_batch_rows': side.MICRO,
}
# Ids the checks use: k15 fills rows with 0, and 1 may end a response.
INSIDE_PAD, INSIDE_END = 0, 1
COMPILED = '/jax/core/compile/backend_compile_duration'

_counts = collections.Counter()


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
  config.checkpoint = side.MODEL or ''
  context_lib.adopt_checkpoint(config)
  config.update_from_flattened_dict(SETTINGS | settings)
  # For the journal of responses; no two runs may have the same.
  folder = pathlib.Path(tempfile.mkdtemp(prefix='k15-'))
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
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
  """New arrays of the given weights, or of random ones as in a fresh run."""
  if side.MODEL:
    return weights.load_params(make_context([], {}), pathlib.Path(side.MODEL))
  # Copies, for the updates of a session consume what they are given.
  return jax.tree.map(lambda x: x.copy(), _random_params())


@functools.cache
def _random_params():
  init = functools.partial(policy.init, make_context([], {}).shape)
  return jax.jit(lambda key: nn.unbox(init(key)))(jax.random.key(0))


def make_session(problems, settings, end=side.END):
  """What `k15.stages.rl.loop` goes on from, and the numbers of its iterations.

  Its weights are its own: its updates consume them.
  """
  context = make_context(problems, settings, end)
  stage = setup.begin(context, make_params())
  jax.block_until_ready(stage.state)
  return stage, itertools.count()


def watch_compilations():
  """Counts XLA's compilations from now on."""
  jax.monitoring.register_event_duration_secs_listener(_count)


def logprob_diff_operation(params):
  """How far rollout and training are apart on the same tokens, in nats.

  Prompts have many lengths, responses end early, are cut and resumed, and are
  packed several in a row; ids that pad and end rows are among the tokens.
  """

  def run(command):
    tokens = command['tokens']
    settings = of_length(tokens) | {
      'rollout.token_budget': -(-tokens // 3),
      'optimizer.micro_batch_rows': 4,
    }
    context = make_context(ragged_problems(16), settings, INSIDE_END)
    finished = finished_responses(context, params())
    sampled = np.concatenate([t.tokens for _, t in finished])
    reply = {
      'responses': len(finished),
      'tokens': len(sampled),
      'pads_sampled': int(np.sum(sampled == INSIDE_PAD)),
      'ends_sampled': int(np.sum(sampled == INSIDE_END)),
      'resumed': sum(len(t.segments) > 1 for _, t in finished),
    }
    # Real weights hardly ever sample the ids of the last two cases.
    if not side.MODEL and not all(reply.values()):
      raise RuntimeError(f'too few tokens to see every case: {reply}')
    differences = logprob_differences(context, params(), finished)
    return {**reply, 'max_diff': float(max(map(np.max, differences)))}

  return run


def finished_responses(context, params):
  """(problem, response) pairs, cut and resumed until the last is done."""
  config = context.config.rollout
  rollout = rollouts.make_rollout(context, 'rl')
  rollout.set_params(params, version=0)
  problems = {problem.id: problem for problem in context.task.train}
  pending = [
    (problem, Trajectory(i, problem.id, sample))
    for i, problem in enumerate(context.task.train)
    for sample in range(side.SAMPLES)
  ]
  finished = []
  while pending:
    grown = partial.run(
      rollout,
      pending,
      context.task.encode_prompt,
      config.token_budget,
      config.max_length,
      config.temperature,
    )
    pending = []
    for t in grown:
      if t.is_finished:
        finished.append((problems[t.problem_id], t))
      else:
        pending.append((problems[t.problem_id], t))
  return finished


def logprob_differences(context, params, finished):
  """|behavior log-prob - that of the training forward| of each response."""
  config = context.config
  sequences = [
    sequences_lib.sequence_of(
      t, context.task.encode_prompt(problem.prompt), 'all', 0
    )
    for problem, t in finished
  ]
  longest = config.rollout.max_prompt_length + config.rollout.max_length
  shape = 2 * longest, len(sequences)
  rows, _, starts = batching.place([s.length for s in sequences], *shape)
  micro = config.optimizer.micro_batch_rows
  num_rows = -(-(rows.max() + 1) // micro) * micro
  logprobs_of = update.make_logprobs(context.shape, micro)
  batch = batching.pack(sequences, num_rows, *shape)
  logprobs = np.asarray(logprobs_of(params, batch))
  for (_, t), s, row, start in zip(
    finished, sequences, rows, starts, strict=True
  ):
    here = slice(start + len(s.prompt_tokens), start + s.length)
    yield np.abs(t.behavior_logprobs - logprobs[row, here])


def recompilations_operation():
  """XLA compilations after the first two of some ragged iterations.

  The lengths of prompts and responses, and how many responses are resumed,
  differ between iterations.
  """

  def run(command):
    tokens = command['tokens']
    settings = of_length(tokens) | {
      'rollout.token_budget': -(-tokens // 2),
      'rl.updates_per_iteration': side.PROMPTS,
      'optimizer.micro_batch_rows': side.SAMPLES,
    }
    stage, iterations = make_session(ragged_problems(64), settings, INSIDE_END)
    stage.rollout.set_params(stage.state.params, version=0)
    stage.rollout.warm_up()
    seen = []
    for iteration in itertools.islice(iterations, 2 + command['iterations']):
      before = _counts[COMPILED]
      values = loop.run_iteration(stage, iteration)
      seen.append(
        {
          'compilations': _counts[COMPILED] - before,
          'responses': values['rl/responses_sampled'],
          'groups': values.get('rl/groups', 0),
          'length_mean': float(values['rl/length_mean']),
        }
      )
    after_two = sum(entry['compilations'] for entry in seen[2:])
    return {'recompilations': after_two, 'iterations': seen}

  return run


def _count(event, seconds, **unused):
  del seconds, unused
  _counts[event] += 1
