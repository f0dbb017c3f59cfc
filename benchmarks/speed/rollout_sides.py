"""What `benchmarks.speed.rollout` measures: the sides, as functions to be
timed.

JetStream's own driver and ours run over the same engine.  The stock driver is
in a process of its own, because its threads end theirs by SIGKILL when
something is wrong.
"""

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import pathlib
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import protocol
from benchmarks.peers import worker_side as side
from benchmarks.speed import k15_side
from benchmarks.stress.chaos_parts import free_port
from k15.model import heads
from k15.model import kv_cache
from k15.model import policy
from k15.rollout import backend
from k15.rollout import requests as requests_lib
from k15.rollout import sampling
from k15.rollout.driver import RolloutDriver
from k15.rollout.scheduler import Scheduler
from k15.runtime import rollouts
from k15.runtime import weights
from k15.serving import engine as engine_lib
from k15.serving import jetstream_adapter
from k15.serving import jetstream_driver
from k15.serving import remote
from k15.serving import server as server_lib
from k15.serving import service
from k15.serving import workers

_GROUP_IDS, _SEEDS = itertools.count(), itertools.count(1)
_NOTHING = np.zeros(0, np.int32)
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_TIMEOUT = 600


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
    self._settings = k15_side.of_length(args.tokens) | {
      'rollout.num_slots': args.slots,
      'rollout.prefill_batch': 16,
      'rollout.tokens_per_call': 32,
    }
    self.context = k15_side.make_context([], self._settings)
    self.tokens_per_call = self.context.config.rollout.tokens_per_call
    self.params, self.version = k15_side.make_params(), 0
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
    context = k15_side.make_context([], self._settings | changed)
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
    # As the slots do: without, the bound would lie below what it bounds.
    params = policy.fuse_projections(params)
    first = jnp.full(slots, side.PROMPT_TOKENS)
    uniforms = sampling.uniforms(keys, first, tokens)

    def step(i, carry):
      cache, ids, made, logprobs = carry
      positions = jnp.full(slots, side.PROMPT_TOKENS - 1 + i)
      hidden, cache = policy.decode(config, params, ids, positions, cache)
      logits = heads.logits_of(config, params, hidden)
      ids, logs = sampling.sample(logits, temperatures, uniforms[i])
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
  context = session.context
  scheduler = Scheduler(backend.SlotBackend(session.slots()))
  driver = RolloutDriver(scheduler, context.layout.use_mesh)
  layout = weights.param_layout(context.layout)
  server = server_lib.RolloutServer(driver, session.slots(), layout, port=port)
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
      sys.executable, '-m', 'benchmarks.speed.rollout', f'--serve={port}',
      f'--slots={args.slots}', f'--tokens={args.tokens}',
    ],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  try:
    if process.stdout.readline() != 'ready\n':
      raise RuntimeError(f'the worker ended: {process.wait()}')
    shape = service.shape_of(session.slots())
    rollout = remote.RemoteRollout(
      [workers.RemoteWorker(f'127.0.0.1:{port}', shape.settings)],
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


class Drive:
  """A driver that answers requests the way JetStream's server asks it."""

  def __init__(self, session, kind):
    self._engine = session.engine()
    self._calls, generate = 0, self._engine.generate

    def counting(params, state):
      self._calls += 1
      return generate(params, state)

    self._engine.generate = counting
    with session.context.layout.use_mesh():
      self._driver = kind(
        prefill_engines=[self._engine],
        generate_engines=[self._engine],
        prefill_params=[session.params],
        generate_params=[session.params],
        interleaved_mode=True,
        jax_padding=False,
      )
    # Kept open: the stock driver writes to it once more after the last token.
    self._loop = asyncio.new_event_loop()
    self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
    self._thread.start()

  def run(self, count, tokens):
    """Answers `count` requests of so many tokens; what it took."""
    before, start = self._count_calls(), side.mark()
    prompts = side.random_prompts(next(_SEEDS), count)
    made = asyncio.run_coroutine_threadsafe(
      self._ask_all(prompts, tokens), self._loop
    ).result()
    took = side.since(start)
    return took | dict(tokens=made, calls=self._count_calls() - before)

  def interrupt_calls(self, slots, tokens):
    """Generate calls that begin or go on after an interrupt was asked for."""
    going, over = threading.Event(), threading.Semaphore(0)
    is_asked, calls = False, 0

    def deliver(chunk):
      nonlocal calls
      # Every call that decodes hands the first request a chunk.
      calls += is_asked and chunk.request is asked[0] and len(chunk.tokens) > 0
      going.set()
      if chunk.stop is not requests_lib.Stop.RUNNING:
        over.release()

    prompts = side.random_prompts(next(_SEEDS), slots)
    asked = [
      requests_lib.Request(
        i, 0, np.array(prompt, np.int32), np.zeros(0, np.int32), tokens
      )
      for i, prompt in enumerate(prompts)
    ]
    self._driver.submit_all(asked, deliver)
    going.wait(_TIMEOUT)
    is_asked = True
    self._driver.command(lambda scheduler: scheduler.interrupt()).result()
    for _ in asked:
      over.acquire(timeout=_TIMEOUT)
    return calls

  def close(self):
    self._driver.stop()
    self._loop.call_soon_threadsafe(self._loop.stop)
    self._thread.join()

  async def _ask_all(self, prompts, tokens):
    asked = [
      jetstream_adapter.ActiveRequest(
        max_tokens=tokens,
        prefill_content=prompt,
        is_client_side_tokenization=True,
        return_channel=jetstream_adapter.AsyncMultifuture(),
      )
      for prompt in prompts
    ]
    for request in asked:
      self._driver.place_request_on_prefill_queue(request)

    async def count(request):
      made = 0
      async for (sample,) in request.return_channel:
        made += len(sample.token_ids)
      return made

    return sum(await asyncio.gather(*map(count, asked)))

  def _count_calls(self):
    if isinstance(self._driver, jetstream_driver.JetStreamDriver):
      stats = self._driver.command(lambda scheduler: scheduler.stats())
      return stats.result()['generate_calls']
    return self._calls


def serve_stock(session):
  """Answers commands on standard input with the stock driver."""
  out = side.claim_stdout()
  drive = Drive(session, jetstream_adapter.orchestrator.Driver)
  side.answer(out, {'ready': True, 'jax': jax.__version__})
  run = {'run': lambda command: drive.run(command['count'], command['tokens'])}
  side.serve(out, run)
  drive.close()


class Stock:
  """The stock driver in its process."""

  def __init__(self, args):
    self._worker = protocol.start_worker(
      [
        sys.executable, '-u', '-m', 'benchmarks.speed.rollout', '--stock',
        f'--slots={args.slots}', f'--tokens={args.tokens}',
      ],
      timeout=_TIMEOUT,
      cwd=_ROOT,
    )  # fmt: skip

  def run(self, count, tokens):
    """As `Drive.run`."""
    command = {'op': 'run', 'count': count, 'tokens': tokens}
    return protocol.ask(self._worker, command, _TIMEOUT)

  def close(self):
    protocol.stop(self._worker)
