"""The stages of reward models: what they learn from, and how well they judge.

Kimi k1.5, section 2.3.5, trains a classic and a chain-of-thought reward model
on about 800,000 examples each.  Here both begin with the model before, an SFT
model as InstructGPT's does; no later stage goes on from what they leave.
"""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from k15 import files
from k15 import streams
from k15.checkpoints import models
from k15.data import answer_pairs
from k15.data.answer_pairs import Pair
from k15.data_types import TrainState
from k15.devices import hosts
from k15.rewards import reward_model
from k15.runtime import made_models
from k15.runtime import model_judges
from k15.runtime.context import Context
from k15.stages import reward_models
from k15.stages import sft


def train(
  context: Context, stage: str, model: pathlib.Path | None
) -> TrainState:
  """Runs either stage from a model's directory, or what is left of it.

  Raises:
    ValueError: there is nothing to learn from.
  """
  make_params = made_models.params_maker(context, model)
  pairs, _ = pairs_of(context.config)
  if stage == reward_models.STAGE:
    examples = labelled(context, pairs)
    return reward_models.train(context, examples, make_params)
  return sft.train(
    context, make_params, stage, lambda: token_pairs(context, pairs)
  )


def pairs_of(config: Any) -> tuple[list[Pair], list[Pair]]:
  """Pairs to learn from, and those that are held out.

  Raises:
    ValueError: a file has a row that is no pair, or the family has fewer
      held-out pairs than are asked for.
  """
  r = config.reward_model
  if r.files:
    found = [pair for path in r.files for pair in answer_pairs.read(path)]
    held_out = [pair for pair in found if answer_pairs.is_held_out(pair)]
    train = [pair for pair in found if not answer_pairs.is_held_out(pair)]
    return train, held_out[: r.held_out]
  rng = streams.rng(config.seed, 'training answer pairs')
  train = itertools.islice(answer_pairs.stream(r.kinds, rng), r.pairs)
  return list(train), answer_pairs.make_pairs(
    r.held_out, r.kinds, held_out=True, seed=config.seed
  )


def labelled(
  context: Context, pairs: Sequence[Pair]
) -> list[reward_models.Judged]:
  """What the classic model learns from; too long cases are left out."""
  tokenizer = context.task.tokenizer
  most = context.config.reward_model.max_prompt_length
  examples = [
    reward_models.Judged(
      tokenizer.begin(reward_model.make_prompt(pair.case)),
      pair.is_correct,
      tokenizer.encode(pair.reasoning),
    )
    for pair in pairs
  ]
  return [example for example in examples if len(example.prompt) <= most]


def token_pairs(
  context: Context, pairs: Sequence[Pair]
) -> tuple[list[sft.TokenPair], int]:
  """Prompts and judgements that the other imitates, and how many are left out.

  Left out is what has no reasoning, or is longer than a case or judgement may
  be.
  """
  tokenizer, r = context.task.tokenizer, context.config.reward_model
  end, kept = np.array([tokenizer.eos_id], np.int32), []
  for pair in pairs:
    judgement = reward_model.make_judgement(pair.reasoning, pair.is_correct)
    prompt = tokenizer.begin(reward_model.make_prompt(pair.case))
    response = np.concatenate([tokenizer.encode(judgement), end])
    fits = len(prompt) <= r.max_prompt_length and len(response) <= r.max_length
    if pair.reasoning and fits:
      prompt = np.asarray(prompt, np.int32)
      kept.append(sft.TokenPair(prompt, response))
  return kept, len(pairs) - len(kept)


def measured(
  context: Context, stage: str, model: pathlib.Path
) -> dict[str, Any]:
  """What the summary says of a reward model on held-out pairs, and says it.

  Its verdicts are in `judged_STAGE.jsonl` of the workdir, beside the labels;
  a model that is done is not asked again.
  """
  if not hosts.is_first():
    return {}
  path = context.workdir / f'judged_{stage}.jsonl'
  step, records = models.read_origin(model).step, files.read_jsonl(path)
  if not records or records[0]['step'] != step:
    _, pairs = pairs_of(context.config)
    judge = model_judges.load(context.config, model)
    verdicts = judge([pair.case for pair in pairs])
    records = [
      dict(
        step=step,
        kind=pair.kind,
        question=pair.question,
        reference=pair.reference,
        response=pair.response,
        is_correct=pair.is_correct,
        verdict=verdict.kind,
        reason=verdict.reason,
      )
      for pair, verdict in zip(pairs, verdicts, strict=True)
    ]
    files.replace_jsonl(path, records)
  shares = shares_of(records)
  print(
    f'after {stage}: {len(records)} held-out pairs, accuracy'
    f' {shares["accuracy"]:.3f}, false positives'
    f' {shares["false_positive"]:.3f}, errors {shares["error"]:.3f}',
    flush=True,
  )
  return {f'{key}_of_{stage}': value for key, value in shares.items()}


def shares_of(records: Sequence[dict[str, Any]]) -> dict[str, float]:
  """Shares of all: right verdicts, wrong answers taken for right, errors."""
  labels = np.array([r['is_correct'] for r in records])
  kinds = np.array([r['verdict'] for r in records])
  says = kinds == 'correct'
  return dict(
    accuracy=float(np.mean((says == labels) & (kinds != 'error'))),
    false_positive=float(np.mean(says & ~labels)),
    error=float(np.mean(kinds == 'error')),
  )
