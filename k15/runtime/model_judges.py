"""Reward models in this process, whole on one device of it.

`load` tells by its files which of the two a directory holds.  Larger models are
served elsewhere: see `model_rewards`.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from k15 import streams
from k15.checkpoints import hf
from k15.checkpoints import models
from k15.checkpoints import value_heads
from k15.generation import judgements
from k15.generation import writers
from k15.model import heads
from k15.model import policy
from k15.rewards import reward_model
from k15.rewards.verdict import Verdict
from k15.rollout import local
from k15.rollout import slots as slots_lib

# Cases -> verdicts, in order.
CaseJudge = Callable[[Sequence[reward_model.Case]], list[Verdict]]


def load(config: Any, path: str | pathlib.Path) -> CaseJudge:
  """The reward model of a directory: with a head of values, the classic one.

  Args:
    config: says how it is computed and how long cases may be.
    path: of its directory, or of a workdir.

  Raises:
    ValueError: there is no such model.
  """
  directory = models.directory_of(path)
  shape = models.read_policy(directory, config.policy)
  tokenizer = models.read_tokenizer(directory)
  mesh = jax.sharding.Mesh(jax.local_devices()[:1], ('whole',))
  device = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  like = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
    nn.unbox(policy.boxed(shape)),
  )
  params = hf.load(directory, shape, like)
  head = value_heads.read(directory, shape.d_model)
  if head is None:
    return by_reasoning(config, shape, params, tokenizer)
  params = dict(trunk=params, head=jax.device_put(head, device))
  value = make_value(
    shape,
    params,
    tokenizer.begin,
    config.reward_model.max_prompt_length,
    config.reward.threads,
  )
  return lambda cases: reward_model.judge_by_value(cases, value)


def make_value(
  shape: policy.PolicyConfig,
  params: dict[str, Any],
  encode: Callable[[str], np.ndarray],
  columns: int,
  rows: int,
) -> Callable[[Sequence[str]], list[float]]:
  """Returns prompts -> values, what `reward_model.judge_by_value` asks.

  A prompt of more tokens than a row has no value: nan.

  Args:
    params: `trunk` and `head`, as `heads.init_value` makes them.
    encode: text -> int32 tokens.
    columns: tokens of a row.
    rows: prompts judged at once.
  """
  compute = jax.jit(functools.partial(heads.values, shape))

  def value(prompts):
    out = np.full(len(prompts), np.nan)
    encoded = [encode(prompt) for prompt in prompts]
    fitting = [i for i, tokens in enumerate(encoded) if len(tokens) <= columns]
    for start in range(0, len(fitting), rows):
      chosen = fitting[start : start + rows]
      sequences = [encoded[i] for i in chosen]
      # Filled up to one shape, or the last prompts of every call would compile.
      sequences += sequences[:1] * (rows - len(chosen))
      batch = heads.pad_rows(sequences, columns)
      out[chosen] = np.asarray(compute(params, *batch))[: len(chosen)]
    return out.tolist()

  return value


def by_reasoning(
  config: Any, shape: policy.PolicyConfig, params: Any, tokenizer: Any
) -> CaseJudge:
  """The judge of a model that writes judgements, sampled in this process."""
  r, slots = config.reward_model, config.reward.threads
  rollout = local.LocalRollout(
    slots_lib.SlotDecoder(
      config=shape,
      num_slots=slots,
      columns=r.max_prompt_length + r.max_length,
      tokens_per_call=config.rollout.tokens_per_call,
      prefill_batch=min(slots, config.rollout.prefill_batch),
      eos_ids=tokenizer.eos_ids,
    ),
    streams.key(config.seed, 'rollout', 'cot_rm'),
  )
  rollout.set_params(params, version=0)

  def encode(text, images):
    del images  # What is judged is text.
    return tokenizer.begin(text)

  write = writers.by_rollout(rollout, encode, tokenizer)

  def fits(prompt):
    return len(tokenizer.begin(prompt)) <= r.max_prompt_length

  limits = r.max_length, r.temperature
  return functools.partial(judgements.by_writer, write, *limits, fits)
