"""What samples in a run: slots, the rollout of the config, its weights.

`with sampling(context, params, stage) as rollout` is all that a stage needs
which asks one model; RL keeps its rollout and hands over new weights itself.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from k15 import streams
from k15.devices import handover
from k15.devices import sharding
from k15.rollout import backend
from k15.rollout import local
from k15.rollout import slots as slots_lib
from k15.rollout.requests import Rollout, SlotEvent
from k15.runtime import weights
from k15.runtime.context import Context
from k15.runtime.context import Layout
from k15.serving import remote


@contextlib.contextmanager
def sampling(
  context: Context, params: Any, stage: str, columns: int = 0
) -> Iterator[Rollout]:
  """A rollout of these weights, under its own mesh; closed in the end.

  Args:
    params: in any layout; let go of once the rollout has its own.
    stage, columns: see `make_rollout`.
  """
  rollout = make_rollout(context, stage, columns=columns)
  brought = make_handover(context)
  with context.layout.use_mesh():
    brought.update(params, version=0)
  rollout.set_params(brought.params, version=0)
  # Where layouts or precisions differ, two copies of the weights are there
  # until now; while responses are sampled there is one.
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
) -> Rollout:
  """The rollout of the config, without weights yet.

  Args:
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
  pictures = context.pictures
  key = streams.key(config.seed, 'rollout', stage)
  if not r.workers:
    return local.LocalRollout(slots, key, record, pictures)
  access, workers = worker_pages()
  files = r.token_file, r.tls_authority, r.tls_certificate, r.tls_key
  return remote.RemoteRollout(
    workers.connect(
      r.workers,
      slots,
      layout.use_mesh,
      access.make(*files),
      r.silence_seconds,
      record,
      pictures,
    ),
    key,
    # Here, so that a wrong request ends before anything is sent.
    backend.SlotBackend(slots, pictures).check,
    r.patience_seconds,
    r.live_requests,
    r.dtype,
  )


def worker_pages() -> tuple[Any, Any]:
  """The pages `access` and `workers`, for configs that name workers.

  Raises:
    ValueError: grpcio, which both need, is not installed.
  """
  try:
    # The one import inside a function: who trains without workers needs none of
    # what the two bring in, and starts where grpcio cannot be installed.
    from k15.serving import access
    from k15.serving import workers
  except ModuleNotFoundError as error:
    if error.name != 'grpc':
      raise
    raise ValueError(f'{error}; rollout.workers=() decodes here') from None
  return access, workers


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
  # Workers elsewhere read the weights from training's layout: nothing has to
  # move inside this process.
  layout = context.rollout_layout if decodes else context.layout
  shapes = weights.param_layout(layout)
  return handover.HandOver(jax.tree.map(lambda x: x.sharding, shapes))


def make_slots(
  config: Any, layout: Layout, tokenizer: Any, columns: int = 0
) -> slots_lib.SlotDecoder:
  """What decodes, of the same shape in every worker.

  Args:
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
    # Joined kernels would have to be cut across q, k and v: with a split axis
    # that is a copy between devices for every version.
    fuse_projections=all(
      sharding.ways_of(layout.mesh, layout.rules, axis) == 1
      for axis in ('heads', 'kv_heads', 'mlp')
    ),
    cache_dtype=r.cache_dtype,
    sight=layout.sight,
  )
