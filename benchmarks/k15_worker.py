"""k15 on the CPU behind the benchmark's line protocol.

  python -m benchmarks.k15_worker      from the repository's root

See peers/protocol.py for the wire.  The model is that of the peers' workers,
and everything runs the way `k15.main` runs it: the config of
`experiments/base.py`, the iteration of `k15.rl`, the rollout of `k15.rollouts`,
under the mesh.  A command may carry `settings`, which override config keys.
"""

import dataclasses
import importlib.metadata
import itertools
import json
import platform

import jax
import numpy as np

from benchmarks import k15_checks as checks
from benchmarks import k15_setup as setup
from benchmarks.peers import worker_side as side
from k15 import host_memory
from k15 import judges
from k15 import rl
from k15 import rollouts
from k15 import sharding
from k15.rewards.verdict import Verdict
from k15.rollout import requests as requests_lib

GROUP_IDS = itertools.count()
SEEDS = itertools.count(1)


def odd_distinct_tokens(response, reference):
  """A reward that costs nothing, as the peers get; k15's is 0 or 1."""
  del reference
  return Verdict('correct' if len(set(response.split())) % 2 else 'wrong')


def make_rollout(params, settings):
  rollout = rollouts.make_rollout(setup.make_context([], settings), 'rl')
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
      requests_lib.Request(
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
    settings = setup.of_length(command['tokens']) | command.get('settings', {})
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
  problems = setup.make_problems(side.random_prompts(0, 4096))

  def step(command):
    updates = command.get('updates', 1)
    settings = setup.of_length(command['tokens']) | {
      'rl.updates_per_iteration': updates,
      'optimizer.micro_batch_rows': side.ROWS // updates,
    }
    settings |= command.get('settings', {})
    key, reply = json.dumps(settings, sort_keys=True), {}
    if key not in sessions:
      start = side.mark()
      sessions[key] = setup.make_session(params, problems, settings)
      reply['setup_seconds'] = side.since(start)['seconds']
    stage, iterations = sessions[key]
    iteration = next(iterations)
    start = side.mark()
    if iteration == 0 and command.get('warm_up', warm_up):
      stage.rollout.set_params(stage.state.params, version=0)
      longest = rollouts.longest_context(stage.context.config.rollout)
      stage.rollout.warm_up(longest)
    values = rl.run_iteration(stage, iteration)
    reply |= {'cold': iteration == 0, **side.since(start)}
    assert values['rl/updates'] == updates, values
    assert values['rl/tokens_trained'] == side.ROWS * command['tokens'], values
    return {**reply, 'phases': stage.timer.pop()}

  return step


def long_tail_settings(num_slots, longest):
  """Settings for responses of up to `longest` tokens in 64 rows."""
  return setup.of_length(longest) | {
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
  checks.watch_compilations()
  judges.make_judges = lambda config, names, resources: {
    names[0]: odd_distinct_tokens
  }
  with sharding.use_mesh(setup.make_context([], {}).mesh):
    params = jax.block_until_ready(setup.make_params())
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
      'logprob_diff': checks.logprob_diff_operation(params),
      'recompilations': checks.recompilations_operation(params),
    }
    side.answer(out, {'ready': True, **describe(params)})
    side.serve(out, operations, fresh=True)


if __name__ == '__main__':
  main()
