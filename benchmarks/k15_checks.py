"""What the k15 worker counts rather than times."""

import collections
import itertools

import jax
import numpy as np

from benchmarks import k15_setup as setup
from benchmarks.peers import worker_side as side
from k15 import batching
from k15 import rl
from k15 import rollouts
from k15 import update
from k15.data_types import Trajectory
from k15.rollout import partial

# Ids the checks use: k15 fills rows with 0, and 1 may end a response.
INSIDE_PAD, INSIDE_END = 0, 1
COMPILED = '/jax/core/compile/backend_compile_duration'

_counts = collections.Counter()


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
    settings = setup.of_length(tokens) | {
      'rollout.token_budget': -(-tokens // 3),
      'optimizer.micro_batch_rows': 4,
    }
    context = setup.make_context(
      setup.ragged_problems(16), settings, INSIDE_END
    )
    finished = finished_responses(context, params)
    sampled = np.concatenate([t.tokens for _, t in finished])
    reply = {
      'responses': len(finished),
      'tokens': len(sampled),
      'pads_sampled': int(np.sum(sampled == INSIDE_PAD)),
      'ends_sampled': int(np.sum(sampled == INSIDE_END)),
      'resumed': sum(len(t.segments) > 1 for _, t in finished),
    }
    if not all(reply.values()):
      raise RuntimeError(f'too few tokens to see every case: {reply}')
    differences = logprob_differences(context, params, finished)
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
    batching.sequence_of(
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


def recompilations_operation(params):
  """XLA compilations after the first two of some ragged iterations.

  The lengths of prompts and responses, and how many responses are resumed,
  differ between iterations.
  """

  def run(command):
    tokens = command['tokens']
    settings = setup.of_length(tokens) | {
      'rollout.token_budget': -(-tokens // 2),
      'rl.updates_per_iteration': side.PROMPTS,
      'optimizer.micro_batch_rows': side.SAMPLES,
    }
    stage, iterations = setup.make_session(
      params, setup.ragged_problems(64), settings, INSIDE_END
    )
    stage.rollout.set_params(stage.state.params, version=0)
    stage.rollout.warm_up()
    seen = []
    for iteration in itertools.islice(iterations, 2 + command['iterations']):
      before = _counts[COMPILED]
      values = rl.run_iteration(stage, iteration)
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
