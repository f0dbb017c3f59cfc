"""A worker with an OpenAI-compatible endpoint: random weights, any size.

What `benchmarks.speed.endpoint` and `benchmarks.stress.poisoned` begin with.
The weights are random, the tokenizer is of bytes, and no response ends before
its budget does.
"""

import threading

import flax.linen as nn
import jax
import numpy as np

from benchmarks.speed.http_clients import PROMPT
from benchmarks.speed.http_clients import TOKEN
from k15.checkpoints import tokenizer as tokenizer_lib
from k15.devices import sharding
from k15.model import policy
from k15.rollout.requests import Request, Stop
from k15.rollout.slots import SlotDecoder
from k15.runtime import weights as layouts
from k15.runtime.context import Layout
from k15.serving import server as server_lib
from k15.serving import weights
from k15.serving.engine import PolicyEngine
from k15.serving.jetstream_driver import JetStreamDriver
from k15.serving.openai import front as front_lib
from k15.serving.streams import Limits

_MODEL = 'random'
_NEVER = -2  # an id that no policy samples
_TIMEOUT_SECONDS = 600


class Bytes(tokenizer_lib.ByteTokenizer):
  """Bytes with the shortest of chat templates."""

  has_chat_template = True

  def render(self, messages):
    """A line a message."""
    return ''.join(f'{m["role"]}: {m["content"]}\n' for m in messages)

  def encode_rendered(self, text):
    """As `encode`: there are no special tokens to be read."""
    return self.encode(text)


def shape(width: int, layers: int) -> policy.PolicyConfig:
  """Of a policy over bytes."""
  return policy.PolicyConfig(
    vocab_size=Bytes().vocab_size, num_layers=layers, d_model=width,
    num_heads=4, num_kv_heads=2, head_dim=width // 4, d_ff=3 * width,
  )  # fmt: skip


def make_server(
  config: policy.PolicyConfig,
  slots: int,
  columns: int,
  tokens_per_call: int = 32,
  limits: Limits = Limits(),  # noqa: B008  (it is frozen)
) -> tuple[server_lib.RolloutServer, front_lib.Front]:
  """A server of random weights that answers on a free port."""
  decoder = SlotDecoder(
    config=config, num_slots=slots, columns=columns,
    tokens_per_call=tokens_per_call, prefill_batch=min(slots, 16),
    eos_ids=(_NEVER,),
  )  # fmt: skip
  mesh = sharding.make_mesh(1, 1, 1)
  engine = PolicyEngine(decoder, Bytes(), mesh)
  driver = JetStreamDriver([engine], [engine], [None], [None])
  layout = layouts.param_layout(Layout(config, mesh))
  server = server_lib.RolloutServer(driver, decoder, layout, limits=limits)
  front = front_lib.Front(server.served, Bytes(), _MODEL, '127.0.0.1', 0, TOKEN)
  server.add_front(front)
  server.prepare()
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.05, x.shape).astype(np.float32),
    nn.unbox(policy.boxed(config)),
  )
  server.keeper.begin_with(weights.place(params, layout), 0)
  server.start()
  return server, front


def run_bare(server: server_lib.RolloutServer, count: int, tokens: int) -> int:
  """`count` responses of so many tokens, asked of the driver itself."""
  prompt = np.frombuffer(PROMPT.encode(), np.uint8).astype(np.int32)
  over, made, left = threading.Event(), [], [count]

  def deliver(chunk):
    made.append(len(chunk.tokens))
    if chunk.stop is not Stop.RUNNING:
      left[0] -= 1
      if not left[0]:
        over.set()

  server.driver.submit_all(
    [
      Request(i, 0, prompt, np.zeros(0, np.int32), tokens, seed=i)
      for i in range(count)
    ],
    deliver,
  )
  if not over.wait(_TIMEOUT_SECONDS):
    raise TimeoutError(f'{left[0]} of {count} responses did not come')
  return sum(made)
