"""k15 on the CPU behind the benchmark's line protocol.

  python -m benchmarks.k15_worker      from the repository's root

See peers/protocol.py for the wire.  The model is that of the peers' workers,
and everything runs the way `k15.main` runs it: the config of
`experiments/base.py`, the iteration of `k15.rl`, the rollout of `k15.context`,
under the mesh.  A command may carry `settings`, which override config keys.
"""

import collections
import dataclasses
import functools
import importlib.metadata
import itertools
import json
import pathlib
import platform
import random
import tempfile
import threading
import types

import flax.linen as nn
import jax
import numpy as np

from benchmarks.peers import worker_side as side
from experiments import base
from k15 import batching
from k15 import context as context_lib
from k15 import host_memory
from k15 import metrics
from k15 import policy
from k15 import rl
from k15 import sharding
from k15 import task as task_lib
from k15 import update
from k15.data_types import Problem, Trajectory
from k15.rollout import client
from k15.rollout import partial

SETTINGS = {
  'policy.num_layers': 4,
  'policy.d_model': 256,
  'policy.num_heads': 4,
  'policy.num_kv_heads': 2,
  'policy.head_dim': 64,
  'policy.d_ff': 768,
  'policy.rope_theta': 1e6,
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
# Ids the checks use: k15 fills rows with 0, and 1 may end a response.
INSIDE_PAD, INSIDE_END = 0, 1
COMPILED = '/jax/core/compile/backend_compile_duration'

GROUP_IDS = itertools.count()
SEEDS = itertools.count(1)
counts = collections.Counter()


def make_tokenizer(end):
  """A word per id."""
  return types.SimpleNamespace(
    encode=lambda text: np.array(text.split(), np.int32),
    decode=lambda ids: side.as_text(ids.tolist()),
    eos_id=end,
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
  return context_lib.Context(
    config=config,
    workdir=folder,
    policy=policy.PolicyConfig(vocab_size=side.VOCAB, **config.policy),
    mesh=sharding.make_mesh(**config.mesh),
    task=task_lib.Task(
      tokenizer=make_tokenizer(end),
      prompt_suffix=config.task.prompt_suffix,
      train=problems,
      held_out=[],
      examples=[],
    ),
    logger=metrics.Logger(folder, enabled=False),
    stop=threading.Event(),
  )


def of_length(tokens):
  return {'rollout.max_length': tokens, 'rollout.token_budget': tokens}


def distinct_tokens(context, problem, response):
  """A reward that costs nothing, as the peers get; k15's lie in [0, 1]."""
  del context, problem
  return len(set(response.split())) / side.VOCAB


def make_rollout(params, settings):
  rollout = context_lib.make_rollout(make_context([], settings))
  rollout.set_params(params, version=0)
  return rollout


def requests(budgets):
  """A new request per budget, SAMPLES of each random prompt."""
  prompts = side.random_prompts(next(SEEDS), -(-len(budgets) // side.SAMPLES))
  asked = []
  for first, prompt in zip(
    range(0, len(budgets), side.SAMPLES), prompts, strict=True
  ):
    group_id = next(GROUP_IDS)
    asked += [
      client.Request(
        group_id=group_id,
        sample_index=i,
        prompt=np.array(prompt, np.int32),
        response=np.zeros(0, np.int32),
        budget=budget,
      )
      for i, budget in enumerate(budgets[first : first + side.SAMPLES])
    ]
  return asked


def answer_all(rollout, asked):
  """All completions; each has as many tokens as were asked for."""
  completions = list(rollout.generate(asked))
  assert len(completions) == len(asked), (len(completions), len(asked))
  assert all(len(c.tokens) == c.request.budget for c in completions)
  return completions


def generate_operation(params):
  rollouts = {}

  def generate(command):
    settings = of_length(command['tokens']) | command.get('settings', {})
    key = json.dumps(settings, sort_keys=True)
    if key not in rollouts:
      rollouts[key] = make_rollout(params, settings)
    asked = requests([command['tokens']] * side.ROWS)
    start = side.mark()
    completions = answer_all(rollouts[key], asked)
    reply = side.since(start)
    return {**reply, 'tokens': sum(len(c.tokens) for c in completions)}

  return generate


def step_operation(params, warm_up=False):
  """Whole iterations of `k15.rl`, one per command.

  With warm_up set, the first of a kind begins as `k15.rl` does: it compiles
  every shape of the rollout, those that this benchmark never needs included.
  """
  sessions = {}
  problems = make_problems(side.random_prompts(0, 4096))

  def step(command):
    updates = command.get('updates', 1)
    settings = of_length(command['tokens']) | {
      'rl.updates_per_iteration': updates,
      'optimizer.micro_batch_rows': side.ROWS // updates,
    }
    settings |= command.get('settings', {})
    key, reply = json.dumps(settings, sort_keys=True), {}
    if key not in sessions:
      start = side.mark()
      sessions[key] = make_session(params, problems, settings)
      reply['setup_seconds'] = side.since(start)['seconds']
    stage, iterations = sessions[key]
    iteration = next(iterations)
    start = side.mark()
    if iteration == 0 and command.get('warm_up', warm_up):
      stage.rollout.set_params(stage.state.params, version=0)
      stage.rollout.warm_up()
    values = rl.run_iteration(stage, iteration)
    reply |= {'cold': iteration == 0, **side.since(start)}
    assert values['rl/updates'] == updates, values
    assert values['rl/tokens_trained'] == side.ROWS * command['tokens'], values
    return {**reply, 'phases': stage.timer.pop()}

  return step


def make_session(params, problems, settings, end=side.END):
  """The stage of `k15.rl`, with weights of its own: its updates consume them,
  and the numbers of its iterations."""
  copies = jax.tree.map(lambda x: x.copy(), params)
  stage = rl._make_stage(make_context(problems, settings, end), copies)
  jax.block_until_ready(stage.state)
  return stage, itertools.count()


def long_tail_settings(num_slots, longest):
  """Settings for responses of up to `longest` tokens in 64 rows."""
  return of_length(longest) | {
    'rollout.num_slots': num_slots,
    'rollout.prefill_batch': 16,
  }


def continuous_batches(params, num_slots):
  """As soon as a response is done, its slot takes the next request."""
  rollouts = {}

  def run(lengths, rehearse):
    longest = max(lengths)
    if longest not in rollouts:
      settings = long_tail_settings(num_slots, longest)
      rollouts[longest] = make_rollout(params, settings)
    budgets = [min(n, 4) for n in lengths] if rehearse else lengths
    answer_all(rollouts[longest], requests(budgets))

  return run


def partial_operation(params):
  """Iterations that each start as many responses as there are lengths.

  With a token budget, a response that needs more is resumed in the next
  iteration, in front of the new ones; without, every iteration lasts until
  its longest response is done.
  """

  def run(command):
    lengths = command['lengths']
    budget = command['token_budget'] or max(lengths)
    settings = long_tail_settings(command['num_slots'], max(lengths))
    rollout = make_rollout(params, settings | command.get('settings', {}))
    rollout.warm_up()
    # Once for what a warm-up leaves out, such as host-side constants.
    answer_all(rollout, requests([4] * len(lengths)))
    rollout.pop_stats()
    waiting, iterations = [], []
    for _ in range(command['iterations']):
      waiting += zip(requests(lengths), lengths, strict=True)
      waiting, record = one_rollout_phase(rollout, waiting, budget)
      iterations.append(record)
    return {'iterations': iterations}

  return run


def one_rollout_phase(rollout, waiting, budget):
  """Grows (request, length wanted) pairs; those still waiting, and a record."""
  wanted = {(r.group_id, r.sample_index): n for r, n in waiting}
  asked = [
    dataclasses.replace(r, budget=min(budget, n - len(r.response)))
    for r, n in waiting
  ]
  start = side.mark()
  completions = answer_all(rollout, asked)
  record = {**side.since(start), 'responses': len(asked)}
  record |= rollout.pop_stats()
  grown = {}
  for c in completions:
    response = np.concatenate([c.request.response, c.tokens])
    name = (c.request.group_id, c.request.sample_index)
    grown[name] = dataclasses.replace(c.request, response=response)
  record['most_tokens_grown'] = max(len(c.tokens) for c in completions)
  return [
    (grown[name], n)
    for name, n in wanted.items()
    if len(grown[name].response) < n
  ], record


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
  rollout = context_lib.make_rollout(context)
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
  logprobs_of = update.make_logprobs(context.policy, micro)
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
    settings = of_length(tokens) | {
      'rollout.token_budget': -(-tokens // 2),
      'rl.updates_per_iteration': side.PROMPTS,
      'optimizer.micro_batch_rows': side.SAMPLES,
    }
    stage, iterations = make_session(
      params, ragged_problems(64), settings, INSIDE_END
    )
    stage.rollout.set_params(stage.state.params, version=0)
    stage.rollout.warm_up()
    seen = []
    for iteration in itertools.islice(iterations, 2 + command['iterations']):
      before = counts[COMPILED]
      values = rl.run_iteration(stage, iteration)
      seen.append(
        {
          'compilations': counts[COMPILED] - before,
          'responses': values['rl/responses_sampled'],
          'groups': values.get('rl/groups', 0),
          'length_mean': float(values['rl/length_mean']),
        }
      )
    after_two = sum(entry['compilations'] for entry in seen[2:])
    return {'recompilations': after_two, 'iterations': seen}

  return run


def count_compilation(event, seconds, **unused):
  del seconds, unused
  counts[event] += 1


def make_params():
  """Random weights, as a fresh run has them."""
  shape = make_context([], {}).policy
  init = functools.partial(policy.init, shape)
  return jax.jit(lambda key: nn.unbox(init(key)))(jax.random.key(0))


def describe(params):
  names = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
  versions = {name: importlib.metadata.version(name) for name in names}
  return {
    'peer': 'k15',
    'versions': {'python': platform.python_version(), **versions},
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
    'devices': [str(device) for device in jax.devices()],
  }


def main():
  out = side.claim_stdout()
  host_memory.keep_freed()
  jax.monitoring.register_event_duration_secs_listener(count_compilation)
  context_lib.score = distinct_tokens
  with sharding.use_mesh(make_context([], {}).mesh):
    params = jax.block_until_ready(make_params())
    operations = {
      'generate': generate_operation(params),
      'step': step_operation(params),
      'first_step': step_operation(params, warm_up=True),
      'long_tail': side.long_tail_operation(
        {
          '16 slots': continuous_batches(params, 16),
          '64 slots': continuous_batches(params, 64),
        }
      ),
      'partial': partial_operation(params),
      'logprob_diff': logprob_diff_operation(params),
      'recompilations': recompilations_operation(params),
    }
    side.answer(out, {'ready': True, **describe(params)})
    side.serve(out, operations, fresh=True)


if __name__ == '__main__':
  main()
