"""Responses that are wanted, and who writes them: a rollout or a function."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from k15 import streams
from k15.data_types import Problem, StopReason
from k15.rollout.requests import Request, Rollout


@dataclasses.dataclass(frozen=True, eq=False)
class Ask:
  """One response that is wanted.

  Attributes:
    problem: which it answers.
    question: text put to the model, the user's turn in a chat.
    prefix: beginning of the response, given too, judged with what follows it.
    max_tokens: it may write, at least 1.
    temperature: above 0.
    sample: number of the response among those of one key.
    key: hash of what decides the response, but for `sample`.
  """

  problem: Problem
  question: str
  prefix: str
  max_tokens: int
  temperature: float
  sample: int
  key: str


# Gives (ask, text, tokens, stop) for every ask, in any order, as they finish.
Respond = Callable[[Sequence[Ask]], Iterator[tuple[Ask, str, int, StopReason]]]


def asks_of(
  problems: Sequence[Problem],
  suffix: str,
  prefix: str,
  samples: int,
  max_tokens: int,
  temperature: float,
  model: str,
  seed: int,
) -> list[Ask]:
  """`samples` asks for each problem.

  Args:
    problems: to be answered.
    suffix: text after a problem's prompt.
    prefix: what every response begins with.
    samples: responses of a problem.
    max_tokens: of a response, without the prefix.
    temperature: of the sampling.
    model: names the weights; others, another name.
    seed: of the sampling.
  """
  asks = []
  for problem in problems:
    text = problem.prompt + suffix
    key = digest(text, prefix, max_tokens, temperature, model, seed)
    asks += [
      Ask(problem, text, prefix, max_tokens, temperature, sample, key)
      for sample in range(samples)
    ]
  return asks


def digest(*values: Any) -> str:
  """24 hexadecimal digits of the hash of values that JSON can hold."""
  return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:24]


def judge_of(
  config: Any, route: str, answer: str, cut_is_wrong: bool | None = None
) -> str:
  """Names all that decides a verdict, but for the response.

  Args:
    config: the whole.
    route: of rewards, as in `routes.terms_of`.
    answer: the reference.
    cut_is_wrong: in place of the config's.
  """
  r = config.reward
  if cut_is_wrong is None:
    cut_is_wrong = r.cut_is_wrong
  settings = config.task.answer_marker, r.program_seconds, cut_is_wrong
  return f'{route}:{digest(route, answer, settings)[:12]}'


def sampling_of(config: Any) -> dict[str, Any]:
  """What decides responses beside model, question, length and temperature."""
  r = config.rollout
  return dict(
    seed=config.seed,
    repetition_count=r.repetition_count,
    repetition_max_period=r.repetition_max_period,
    repetition_min_tokens=r.repetition_min_tokens,
    dtype=r.dtype,
    cache_dtype=r.cache_dtype,
  )


def by_generate(
  generate: Callable[[Sequence[str]], Sequence[str]], batch: int
) -> Respond:
  """Responses of any function prompts -> texts, such as a served model.

  It is called with at most `batch` prompts, and what it gave is kept before
  it is called again.  A text that is not finished has to come as ''.  Tokens
  are not known: -1.
  """

  def respond(asks):
    for start in range(0, len(asks), batch):
      part = asks[start : start + batch]
      texts = generate([ask.question + ask.prefix for ask in part])
      for ask, text in zip(part, texts, strict=True):
        stop = StopReason.EOS if text else StopReason.MAX_LENGTH
        yield ask, text, -1, stop

  return respond


def by_rollout(
  rollout: Rollout, encode_turn: Callable[[str], np.ndarray], tokenizer: Any
) -> Respond:
  """Responses of a rollout with weights; the same for the same key and number.

  What a response is does not hang on which others are drawn beside it.  The
  prefix is encoded by itself, as worked solutions are in training.

  Args:
    rollout: with weights.
    encode_turn: text put to the model -> int32 tokens.
    tokenizer: of responses.
  """

  def respond(asks):
    wanted = {}
    for ask in asks:
      request = Request(
        group_id=streams.IDS['curation'][int(ask.key[:7], 16)],
        sample_index=ask.sample,
        prompt=np.concatenate(
          [encode_turn(ask.question), tokenizer.encode(ask.prefix)]
        ).astype(np.int32),
        response=np.zeros(0, np.int32),
        budget=ask.max_tokens,
        temperature=ask.temperature,
      )
      wanted.setdefault((request.group_id, ask.sample), []).append(
        (request, ask)
      )
    # Two keys may begin alike; a rollout tells requests apart by their ids.
    while wanted:
      now = {ids: found.pop() for ids, found in wanted.items()}
      wanted = {ids: found for ids, found in wanted.items() if found}
      for completion in rollout.generate([r for r, _ in now.values()]):
        request = completion.request
        ask = now[request.group_id, request.sample_index][1]
        text = tokenizer.decode(completion.tokens)
        stop = completion.stop.reason
        if stop is StopReason.BUDGET:  # All that it was allowed.
          stop = StopReason.MAX_LENGTH
        yield ask, text, len(completion.tokens), stop

  return respond
