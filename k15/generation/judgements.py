"""Verdicts of a chain-of-thought reward model, from the texts that it writes.

A judgement that k15 samples hangs on its case alone, and not on what is judged
beside it or was before, so that a resumed run gets the same.  A server's cannot
be had again bit for bit.
"""

import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from k15 import streams
from k15.data_types import Problem
from k15.generation import writers
from k15.generation.asks import Ask
from k15.rewards import reward_model
from k15.rewards.verdict import Verdict

KEY_VARIABLE = 'K15_SERVER_KEY'


def by_writer(
  write: writers.Writer,
  max_tokens: int,
  temperature: float,
  fits: Callable[[str], bool],
  cases: Sequence[reward_model.Case],
) -> list[Verdict]:
  """The verdicts that a writer's texts give; see `judge_by_reasoning`.

  Args:
    max_tokens, temperature: of a judgement.
    fits: whether a prompt is short enough to be asked; others are malformed.
  """
  attempts, ids = itertools.count(), streams.IDS['texts']

  def generate(prompts):
    attempt, asked = next(attempts), {}
    for prompt in filter(fits, prompts):
      # Of the text alone: what it draws hangs on nothing else.
      number = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4])
      asked[prompt] = Ask(
        problem=Problem('', prompt, ''),
        question=prompt,
        group_id=ids[number % len(ids)],
        sample=attempt,
        max_tokens=max_tokens,
        temperature=temperature,
      )
    texts = {ask.question: done.text for ask, done in write([*asked.values()])}
    return [texts.get(prompt, '') for prompt in prompts]

  return reward_model.judge_by_reasoning(cases, generate)


def by_server(config: Any, case: reward_model.Case) -> Verdict:
  """The verdict of an OpenAI-compatible server, `reward_model.cot_server`."""
  r = config.reward_model
  write = writers.by_server(
    r.cot_server,
    r.cot_server_model,
    os.environ.get(KEY_VARIABLE, ''),
    lambda text: [dict(role='user', content=reward_model.INSTRUCTION + text)],
    threads=1,  # Each thread that judges asks for itself.
    seconds=r.server_seconds,
    seed=config.seed,
  )
  limits = r.max_length, r.temperature
  [verdict] = by_writer(write, *limits, lambda prompt: True, [case])
  return verdict
