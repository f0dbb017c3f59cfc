"""Drivers over the same engine: JetStream's own, and ours.

The stock driver is in a process of its own, because its threads end theirs by
SIGKILL when something is wrong.
"""

import asyncio
import itertools
import pathlib
import sys
import threading

import jax
import numpy as np

from benchmarks.peers import protocol
from benchmarks.peers import worker_side as side
from k15.rollout import driver as driver_lib
from k15.rollout import jetstream_adapter
from k15.rollout import requests as requests_lib

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_SEEDS = itertools.count(1)
_TIMEOUT = 600


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
    if isinstance(self._driver, driver_lib.RolloutDriver):
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
        sys.executable, '-u', '-m', 'benchmarks.rollout', '--stock',
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
