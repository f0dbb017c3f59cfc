"""Responses that are wanted, and what decides each of them.

Whoever asks a model for responses (evaluation, curation, long-CoT, long2short)
writes down what it wants as a list of `Ask`s.  `writers` answer them, `draw`
has the answers judged, and a `journal` keeps both.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from k15.config import routes as routes_lib
from k15.data_types import Problem, StopReason


@dataclasses.dataclass(frozen=True, eq=False)
class Ask:
  """One response that is wanted.

  Attributes:
    problem: which it answers, with the reference that judges it.
    question: text put to the model, the user's turn in a chat.
    group_id: with the sample, of its random numbers; see `streams.IDS`.
    sample: number of the response among those of one key.
    max_tokens: it may write, at least 1.
    temperature: above 0.
    key: hash of all that decides the response, but for `sample`.
    judge: names all that decides its verdict; '' where nothing judges it.
    route: of the rewards that judge it, as in `routes.terms_of`; '': by the
      problem's domain.
    prefix: beginning of the response, given too, judged with what follows it.
    top_p: of the sampling, see `Request`.
  """

  problem: Problem
  question: str
  group_id: int
  sample: int
  max_tokens: int
  temperature: float
  key: str = ''
  judge: str = ''
  route: str = ''
  prefix: str = ''
  top_p: float = 1.0

  @property
  def name(self) -> tuple[str, int]:
    """What its response is known by."""
    return self.key, self.sample


@dataclasses.dataclass(frozen=True, eq=False)
class Written:
  """A response as it was written.

  Attributes:
    text: without the prefix.
    stop: why it stopped.
    length: in tokens; -1 if that is not known, as of a server's.
    tokens: int32 [length], the end of sequence included; None: not known.
  """

  text: str
  stop: StopReason
  length: int = -1
  tokens: np.ndarray | None = None


def of_problem(
  problem: Problem,
  question: str,
  tokens: Sequence[int],
  group_id: int,
  samples: Iterable[int],
  facts: Mapping[str, Any],
  judge: str = '',
  route: str = '',
) -> list[Ask]:
  """Asks for a problem whose random ids do not hang on its text.

  Args:
    tokens: what becomes of it, chat template and all.
  """
  # Two pictures may be asked the same.
  key = digest(
    facts, group_id, [int(token) for token in tokens], *problem.digests
  )
  return [
    Ask(
      problem=problem,
      question=question,
      group_id=group_id,
      sample=sample,
      max_tokens=facts['max_length'],
      temperature=facts['temperature'],
      key=key,
      judge=judge,
      route=route,
      top_p=facts.get('top_p', 1.0),
    )
    for sample in samples
  ]


def digest(*values: Any) -> str:
  """24 hexadecimal digits of the hash of values that JSON can hold."""
  # 96 bits: among millions of responses no two names meet by chance.
  return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:24]


def route_of(config: Any, problem: Problem) -> str:
  """The rewards that judge a problem, as in training."""
  routes = routes_lib.routes_of(config.reward.default, config.reward.routes)
  domain, has_images = problem.domain, bool(problem.images)
  return routes[routes_lib.key_of(routes, domain, has_images)]


def judge_of(
  config: Any,
  problem: Problem,
  route: str = '',
  cut_is_wrong: bool | None = None,
) -> str:
  """Names all that decides a verdict, but for the response.

  Args:
    route: of rewards, as in `routes.terms_of`; '': by the problem's domain.
    cut_is_wrong: in place of the config's.
  """
  route = route or route_of(config, problem)
  r = config.reward
  if cut_is_wrong is None:
    cut_is_wrong = r.cut_is_wrong
  # Of `reward` nothing else: threads, services and sandboxes decide how soon a
  # verdict comes, and not which one.
  settings = config.task.answer_marker, r.program_seconds, cut_is_wrong
  terms = routes_lib.terms_of(route)
  if any(term.reward in routes_lib.MODELS for term in terms):
    models = config.reward_model
    settings += tuple(map(str, (models[key] for key in sorted(models))))
  return f'{route}:{digest(route, problem.answer, settings)[:12]}'


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


def facts_of(config: Any, model: str, **more: Any) -> dict[str, Any]:
  """What decides responses beside the question and its random ids.

  Args:
    model: names the weights.
    more: `temperature`, and `top_p` where it is not 1.
  """
  facts = dict(model=model, **more, max_length=config.rollout.max_length)
  return facts | sampling_of(config)
