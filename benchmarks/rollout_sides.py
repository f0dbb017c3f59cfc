"""What `benchmarks.rollout` measures: the sides, as functions to be timed."""

import contextlib
import dataclasses
import functools
import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import k15_setup as setup
from benchmarks.chaos_parts import free_port
from benchmarks.peers import worker_side as side
from k15 import heads
from k15 import kv_cache
from k15 import policy
from k15 import rollouts
from k15 import run_weights
from k15.rollout import engine as engine_lib
from k15.rollout import remote as remote_lib
from k15.rollout import requests as requests_lib
from k15.rollout import sampling
from k15.rollout import server as server_lib
from k15.rollout import service as service_lib
from k15.rollout import workers as workers_lib

_GROUP_IDS, _SEEDS = itertools.count(), itertools.count(1)
_NOTHING = np.zeros(0, np.int32)


class Session:
  """The policy, its weights, and the rollouts over them.

  Attributes:
    context: of k15.
    params: weights.
    version: of `params`.
    bytes: of `params`.
    tokens_per_call: of `generate`.
  """

  def __init__(self, args):
    self._settings = setup.of_length(args.tokens) | {
      'rollout.num_slots': args.slots,
      'rollout.prefill_batch': 16,
      'rollout.tokens_per_call': 32,
    }
    self.context = setup.make_context([], self._settings)
    self.tokens_per_call = self.context.config.rollout.tokens_per_call
    self.params, self.version = setup.make_params(), 0
    self.bytes = sum(x.nbytes for x in jax.tree.leaves(self.params))

  def slots(self):
    """What decodes; nothing but its budget ends a response."""
    context = self.context
    slots = rollouts.make_slots(
      context.config, context.rollout_layout, context.task.tokenizer
    )
    return dataclasses.replace(slots, eos_ids=(side.END,))

  def engine(self):
    """The slots as an engine."""
    context = self.context
    return engine_lib.PolicyEngine(
      self.slots(), context.task.tokenizer, context.layout.mesh
    )

  def local(self, **settings):
    """A `LocalRollout` with the weights."""
    changed = {f'rollout.{key}': value for key, value in settings.items()}
    context = setup.make_context([], self._settings | changed)
    rollout = rollouts.make_rollout(context, 'rl')
    rollout.set_params(self.params, self.version)
    return rollout

  def next_params(self):
    """Other weights, of the next version."""
    self.params = jax.block_until_ready(
      jax.tree.map(lambda x: x * 1.0001, self.params)
    )
    self.version += 1
    return self.params


def tail_settings(args, longest):
  """Of the long tail."""
  return dict(
    num_slots=args.tail_slots, max_length=longest, token_budget=longest
  )


def requests(budgets):
  """A new request per budget, SAMPLES of each random prompt."""
  groups = -(-len(budgets) // side.SAMPLES)
  prompts = side.random_prompts(next(_SEEDS), groups)
  made = []
  for i, budget in enumerate(budgets):
    group, sample = divmod(i, side.SAMPLES)
    if not sample:
      group_id = next(_GROUP_IDS)
    prompt = np.array(prompts[group], np.int32)
    made.append(
      requests_lib.Request(group_id, sample, prompt, _NOTHING, budget)
    )
  return made


def bare_loop(session, slots, tokens):
  """Decode steps of a full batch in one loop, and nothing else."""
  config = session.context.shape
  columns = side.PROMPT_TOKENS + tokens
  keys = jax.random.split(jax.random.key(0), slots)
  temperatures = jnp.ones(slots)

  @functools.partial(jax.jit, donate_argnums=1)
  def loop(params, cache, ids):
    params = policy.fuse_projections(params)

    def step(i, carry):
      cache, ids, made, logprobs = carry
      positions = jnp.full(slots, side.PROMPT_TOKENS - 1 + i)
      hidden, cache = policy.decode(config, params, ids, positions, cache)
      logits = heads.logits_of(config, params, hidden)
      ids, logs = sampling.sample(logits, temperatures, keys, positions + 1)
      made, logprobs = made.at[:, i].set(ids), logprobs.at[:, i].set(logs)
      return cache, ids, made, logprobs

    made = jnp.zeros((slots, tokens), jnp.int32)
    carry = cache, ids, made, jnp.zeros((slots, tokens))
    return jax.lax.fori_loop(0, tokens, step, carry)

  def run():
    cache = kv_cache.empty(config, slots, columns)
    ids = jnp.ones(slots, jnp.int32)
    with session.context.layout.use_mesh():
      _, _, made, logprobs = loop(session.params, cache, ids)
      made, _ = jax.device_get((made, logprobs))
    return dict(tokens=made.size)

  return run


def answer_all(rollout, count, tokens):
  """`count` responses of just so many tokens."""

  def run():
    rollout.pop_stats()
    done = list(rollout.generate(requests([tokens] * count)))
    assert [len(c.tokens) for c in done] == [tokens] * count
    calls = rollout.pop_stats()['generate_calls']
    return dict(tokens=count * tokens, calls=int(calls))

  return run


def serve(session, port):
  """Is the worker; ends when its standard input closes."""
  layout = run_weights.param_layout(session.context.layout)
  server = server_lib.RolloutServer(session.engine(), layout, port=port)
  server.start()
  print('ready', flush=True)
  sys.stdin.read()
  server.stop()


@contextlib.contextmanager
def worker(session, args):
  """A `RemoteRollout` with the weights, and its worker in a process."""
  port = free_port()
  process = subprocess.Popen(
    [
      sys.executable, '-m', 'benchmarks.rollout', f'--serve={port}',
      f'--slots={args.slots}', f'--tokens={args.tokens}',
    ],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  try:
    if process.stdout.readline() != 'ready\n':
      raise RuntimeError(f'the worker ended: {process.wait()}')
    shape = service_lib.shape_of(session.slots())
    rollout = remote_lib.RemoteRollout(
      [workers_lib.RemoteWorker(f'127.0.0.1:{port}', shape.settings)],
      jax.random.key(1),
      lambda r: requests_lib.check(r, shape.columns, shape.vocab_size),
    )
    rollout.set_params(session.params, session.version)
    rollout.warm_up()
    yield rollout
    rollout.close()
  finally:
    process.stdin.close()
    try:
      process.wait(30)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
