"""k15 on the CPU behind the benchmark's line protocol.

  python -m benchmarks.speed.k15_worker      from the repository's root

See peers/protocol.py for the wire.  The model is that of the peers' workers,
random or given, and everything runs the way `k15.main` runs it: the config of
`experiments/base.py`, the iteration of `k15.stages.rl.loop`, the rollout of
`k15.runtime.rollouts`, under the mesh.  A command may carry `settings`, which
override config keys.
"""

import functools
import importlib.metadata
import itertools
import json
import platform

import jax
import numpy as np

from benchmarks.peers import worker_side as side
from benchmarks.speed import k15_side
from k15.devices import host_memory
from k15.rewards.verdict import Verdict
from k15.rollout import requests as requests_lib
from k15.runtime import judges
from k15.runtime import rollouts as rollouts_lib
from k15.runtime import weights
from k15.stages.rl import loop

GROUP_IDS = itertools.count()
SEEDS = itertools.count(1)


def odd_distinct_tokens(response, reference):
  """A reward that costs nothing, as the peers get; k15's is 0 or 1."""
  del reference
  return Verdict('correct' if len(set(response.split())) % 2 else 'wrong')


def make_rollout(params, settings):
  rollout = rollouts_lib.make_rollout(k15_side.make_context([], settings), 'rl')
  rollout.set_params(params(), version=0)
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
    settings = k15_side.of_length(command['tokens']) | command.get(
      'settings', {}
    )
    key = json.dumps(settings, sort_keys=True)
    if key not in rollouts:
      rollouts[key] = make_rollout(params, settings)
    asked = requests([command['tokens']] * side.ROWS)
    start = side.mark()
    completions = answer_all(rollouts[key], asked)
    reply = side.since(start)
    return {**reply, 'tokens': sum(len(c.tokens) for c in completions)}

  return generate


def step_operation(warm_up=False):
  """Whole iterations of `k15.stages.rl.loop`, one per command.

  With warm_up set, the first of a kind begins as `k15.stages.rl.loop` does: it
  compiles every shape of the rollout, those that this benchmark never needs
  included.
  """
  sessions = {}
  problems = k15_side.make_problems(side.random_prompts(0, 4096))

  def step(command):
    updates = command.get('updates', 1)
    settings = k15_side.of_length(command['tokens']) | {
      'rl.updates_per_iteration': updates,
      'optimizer.micro_batch_rows': min(side.MICRO, side.ROWS // updates),
    }
    settings |= command.get('settings', {})
    key, reply = json.dumps(settings, sort_keys=True), {}
    if key not in sessions:
      start = side.mark()
      sessions[key] = k15_side.make_session(problems, settings)
      reply['setup_seconds'] = side.since(start)['seconds']
    stage, iterations = sessions[key]
    iteration = next(iterations)
    start = side.mark()
    if iteration == 0 and command.get('warm_up', warm_up):
      stage.rollout.set_params(stage.state.params, version=0)
      longest = rollouts_lib.longest_context(stage.context.config.rollout)
      stage.rollout.warm_up(longest)
    values = loop.run_iteration(stage, iteration)
    reply |= {'cold': iteration == 0, **side.since(start)}
    assert values['rl/updates'] == updates, values
    assert values['rl/tokens_trained'] == side.ROWS * command['tokens'], values
    return {**reply, 'phases': stage.timer.pop()}

  return step


def long_tail_settings(num_slots, longest):
  """Settings for responses of up to `longest` tokens in 64 rows."""
  return k15_side.of_length(longest) | {
    'rollout.num_slots': num_slots,
    'rollout.prefill_batch': num_slots,
  }


def continuous_batches(params, num_slots):
  """As soon as a response is done, its slot takes the next request."""
  rollouts = {}

  def run(lengths, rehearse, settings=None):
    longest = max(lengths)
    whole = long_tail_settings(num_slots, longest) | (settings or {})
    key = json.dumps(whole, sort_keys=True)
    if key not in rollouts:
      rollouts[key] = make_rollout(params, whole)
    budgets = [min(n, 4) for n in lengths] if rehearse else lengths
    answer_all(rollouts[key], requests(budgets))

  return run


def describe():
  layout = weights.param_layout(k15_side.make_context([], {}).layout)
  names = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
  versions = {name: importlib.metadata.version(name) for name in names}
  return {
    'peer': 'k15',
    'versions': {'python': platform.python_version(), **versions},
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(layout)),
    'devices': [str(device) for device in jax.devices()],
  }


def main():
  out = side.claim_stdout()
  # As a run does before it computes anything.
  host_memory.keep_freed()
  k15_side.watch_compilations()
  judges.make_judges = lambda config, names, resources, workdir: {
    names[0]: odd_distinct_tokens
  }
  with k15_side.make_context([], {}).layout.use_mesh():
    # Not before it is asked for: a step's own would be a second copy.
    params = functools.cache(k15_side.make_params)
    operations = {
      'generate': generate_operation(params),
      'step': step_operation(),
      'first_step': step_operation(warm_up=True),
      'long_tail': side.long_tail_operation(
        {
          '16 slots': continuous_batches(params, 16),
          '64 slots': continuous_batches(params, 64),
        }
      ),
      'logprob_diff': k15_side.logprob_diff_operation(params),
      'recompilations': k15_side.recompilations_operation(),
    }
    side.answer(out, {'ready': True, **describe()})
    side.serve(out, operations, fresh=True)


if __name__ == '__main__':
  main()
