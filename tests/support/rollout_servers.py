"""Servers of tiny policies, and what tests ask them."""

import functools

import jax
import small_engine
import stock_engine

from k15.devices import sharding
from k15.rollout import backend
from k15.rollout import local as local_lib
from k15.runtime import weights
from k15.runtime.context import Layout
from k15.serving import access as access_lib
from k15.serving import remote
from k15.serving import server as server_lib
from k15.serving import wire
from k15.serving import workers
from k15.serving.access import Access
from k15.serving.jetstream_driver import JetStreamDriver
from k15.serving.streams import Limits

KEY = jax.random.key(5)


@functools.cache
def settings():
  return wire.settings_of(small_engine.make_decoder())


def layout():
  """Of the tiny policy's parameters."""
  mesh = sharding.make_mesh(1, 1, 1)
  return weights.param_layout(Layout(small_engine.CONFIG, mesh))


def start(num_slots=3, tokens_per_call=4, access=None, port=0, **limits):
  """A server of a tiny policy, without weights."""
  decoder = small_engine.make_decoder(num_slots, tokens_per_call)
  engine = stock_engine.make_engine(decoder)
  driver = JetStreamDriver([engine], [engine], [None], [None])
  server = server_lib.RolloutServer(
    driver,
    decoder,
    layout(),
    port=port,
    access=access or Access(),
    limits=Limits(**limits),
    add_calls=driver.add_calls,
  )
  server.start()
  return server


def stub(server, access=None):
  channel = access_lib.open_channel(
    f'127.0.0.1:{server.port}', access or Access()
  )
  return wire.Stub(channel)


def remote_rollout(*ports, silence=20.0, patience=120.0, local=False):
  """A rollout on servers of this host, and in this process."""
  several = [
    workers.RemoteWorker(
      f'127.0.0.1:{port}', settings(), silence_seconds=silence
    )
    for port in ports
  ]
  if local:
    mesh = functools.partial(sharding.use_mesh, sharding.make_mesh(1, 1, 1))
    several.append(workers.LocalWorker(small_engine.make_decoder(), mesh))
  return remote.RemoteRollout(several, KEY, check, patience)


def check(request):
  backend.SlotBackend(small_engine.make_decoder()).check(request)


def local_rollout(version=4):
  rollout = local_lib.LocalRollout(small_engine.make_decoder(), KEY)
  rollout.set_params(small_engine.make_params(), version)
  return rollout


def mixed_requests(groups=5, samples=2):
  """Prompts of several lengths, budgets that differ within a group."""
  return [
    small_engine.request(g, s, length=1 + 3 * g, budget=6 + g + 2 * s)
    for g in range(groups)
    for s in range(samples)
  ]


def by_name(completions):
  completions = list(completions)
  names = [(c.request.group_id, c.request.sample_index) for c in completions]
  assert len(set(names)) == len(names)
  return dict(zip(names, completions, strict=True))
