"""What samples in a run: slots, the rollout of the config, its weights.

`with sampling(context, params, stage) as rollout` is all that a stage needs
which asks one model; RL keeps its rollout and hands over new weights itself.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from k15 import handover
from k15 import run_weights
from k15 import sharding
from k15 import streams
from k15.context import Context
from k15.context import Layout
from k15.rollout import access as access_lib
from k15.rollout import backend
from k15.rollout import client
from k15.rollout import engine as engine_lib
from k15.rollout import local_worker
from k15.rollout import remote
from k15.rollout import service
from k15.rollout import slots as slots_lib
from k15.rollout import workers
from k15.rollout.requests import SlotEvent


@contextlib.contextmanager
def sampling(
  context: Context, params: Any, stage: str, columns: int = 0
) -> Iterator[Any]:
  """A rollout of these weights, under its own mesh; closed in the end.

  Args:
    context: of the run.
    params: in any layout; let go of once the rollout has its own.
    stage, columns: see `make_rollout`.
  """
  rollout = make_rollout(context, stage, columns=columns)
  brought = make_handover(context)
  with context.layout.use_mesh():
    brought.update(params, version=0)
  rollout.set_params(brought.params, version=0)
  del params, brought
  try:
    with context.rollout_layout.use_mesh():
      yield rollout
  finally:
    rollout.close()


def make_rollout(
  context: Context,
  stage: str,
  record: Callable[[SlotEvent], None] | None = None,
  columns: int = 0,
) -> Any:
  """The rollout of the config, without weights yet.

  Args:
    context: of the run.
    stage: whose random numbers it draws, one of `streams.NUMBERS`.
    record: told what the slots of this process do, if given.
    columns: tokens of the longest prompt and response; 0: of the config.

  Returns:
    `LocalRollout`, or `RemoteRollout` if the config names workers.

  Raises:
    ValueError, OSError: the token or certificates cannot be used.
  """
  config, r = context.config, context.config.rollout
  layout, tokenizer = context.rollout_layout, context.task.tokenizer
  slots = make_slots(config, layout, tokenizer, columns)
  key = streams.key(config.seed, 'rollout', stage)
  if not r.workers:
    return client.LocalRollout(slots, key, record)
  settings, access = service.shape_of(slots).settings, make_access(config)
  return remote.RemoteRollout(
    [
      local_worker.make(make_engine(config, slots, layout, tokenizer), record)
      if name == 'local'
      else workers.RemoteWorker(name, settings, access, r.silence_seconds)
      for name in r.workers
    ],
    key,
    backend.SlotBackend(slots).check,
    r.patience_seconds,
    r.live_requests,
    r.dtype,
  )


def longest_context(rollout: Any) -> int:
  """Tokens of the longest context a rollout of this config prefills.

  Only a budget below the maximum length leaves responses to be resumed.
  """
  resumes = rollout.token_budget < rollout.max_length
  return rollout.max_prompt_length + resumes * rollout.max_length


def make_handover(context: Context) -> handover.HandOver:
  """What brings weights of training to where this process decodes, if it does.

  Raises:
    ValueError: the rules do not fit the policy.
  """
  workers = context.config.rollout.workers
  decodes = not workers or 'local' in workers
  layout = context.rollout_layout if decodes else context.layout
  shapes = run_weights.param_layout(layout)
  return handover.HandOver(jax.tree.map(lambda x: x.sharding, shapes))


def make_slots(
  config: Any, layout: Layout, tokenizer: Any, columns: int = 0
) -> slots_lib.SlotDecoder:
  """What decodes, of the same shape in every worker.

  Args:
    config: the whole.
    layout: of the rollout.
    tokenizer: whose tokens end responses.
    columns: tokens of the longest prompt and response; 0: of the config.
  """
  r = config.rollout
  return slots_lib.SlotDecoder(
    config=layout.shape,
    num_slots=r.num_slots,
    columns=columns or r.max_prompt_length + r.max_length,
    tokens_per_call=r.tokens_per_call,
    prefill_batch=r.prefill_batch,
    eos_ids=tokenizer.eos_ids,
    repetition_count=r.repetition_count,
    repetition_max_period=r.repetition_max_period,
    repetition_min_tokens=r.repetition_min_tokens,
    fuse_projections=all(
      sharding.ways_of(layout.mesh, layout.rules, axis) == 1
      for axis in ('heads', 'kv_heads', 'mlp')
    ),
    cache_dtype=r.cache_dtype,
  )


def make_engine(
  config: Any, slots: slots_lib.SlotDecoder, layout: Layout, tokenizer: Any
) -> engine_lib.PolicyEngine:
  """What servers run: the decoder with its tokenizer and devices."""
  return engine_lib.PolicyEngine(
    slots,
    tokenizer,
    layout.mesh,
    seed=client.seed_of(streams.key(config.seed, 'serving')),
    rules=layout.rules,
  )


def make_access(config: Any) -> access_lib.Access:
  """Token and certificates of the config, or of the environment."""
  r = config.rollout
  return access_lib.make(
    r.token_file, r.tls_authority, r.tls_certificate, r.tls_key
  )
