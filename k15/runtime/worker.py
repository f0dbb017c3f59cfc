"""A rollout worker, from a config: what `python -m k15.serve` serves."""

from typing import Any

import jax

from k15 import streams
from k15.config import checks
from k15.data import arithmetic
from k15.rollout import local
from k15.runtime import context
from k15.runtime import rollouts
from k15.runtime import weights
from k15.serving import access
from k15.serving.engine import PolicyEngine
from k15.serving.jetstream_driver import JetStreamDriver
from k15.serving.server import RolloutServer
from k15.serving.streams import Limits


def make(
  config: Any, host: str, port: int, record: Any = None, checkpoint: str = ''
) -> RolloutServer:
  """The worker of a config; see `RolloutServer`.

  Shape and tokenizer are those of `checkpoint`, or else of the config's.
  """
  config.checkpoint = checkpoint or config.checkpoint
  context.adopt_checkpoint(config)
  checked = config.copy_and_resolve_references()
  if checked.task.name == 'file':  # A worker needs no file of problems.
    checked.task.name = 'arithmetic'
  checks.validate(checked, jax.device_count(), arithmetic.KINDS)
  r = config.rollout
  tokenizer = context.make_tokenizer(config)
  layout = context.make_layout(config, tokenizer)
  layout = context.make_rollout_layout(config, layout)
  slots = rollouts.make_slots(config, layout, tokenizer)
  files = r.token_file, r.tls_authority, r.tls_certificate, r.tls_key
  allowed = access.make(*files)
  engine = PolicyEngine(
    slots,
    tokenizer,
    layout.mesh,
    # For JetStream's own calls; requests of a trainer bring the seed of its
    # run.
    seed=local.seed_of(streams.key(config.seed, 'serving')),
    rules=layout.rules,
  )
  driver = JetStreamDriver([engine], [engine], [None], [None], record=record)
  return RolloutServer(
    driver,
    slots,
    weights.param_layout(layout),
    host,
    port,
    allowed,
    Limits(r.max_requests, r.max_tokens, r.max_message_bytes),
    driver.add_calls,
    engine.pictures,
  )
