"""The funnel of `curation.py` on the problems of a run, samples included."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from k15 import asks as asks_lib
from k15 import config_routes
from k15 import context as context_lib
from k15 import curation
from k15 import hosts
from k15 import logs
from k15 import pass_rates
from k15 import tagging
from k15.asks import Respond
from k15.context import Context
from k15.curation import Removal
from k15.curation import Step
from k15.data_types import Problem
from k15.rewards import thinking
from k15.task import Task

FOLDER = 'curation'  # in the workdir
_TAG_TOKENS = 32  # of a model's answer


class Refused(Exception):
  """The prompt set cannot be made, or not be changed any more."""


class Funnel:
  """Problems that still stay, and the steps they went through."""

  def __init__(self, problems: Sequence[Problem]):
    self.problems, self.steps = list(problems), []

  def apply(self, decide: Callable[[], list[Removal]], note: str = '') -> None:
    """Takes the next step of `curation.STEPS`; with a note, leaves it out."""
    start = time.perf_counter()
    removals = [] if note else decide()
    self.steps.append(
      Step(
        curation.STEPS[len(self.steps)],
        len(self.problems),
        tuple(removals),
        time.perf_counter() - start,
        note,
      )
    )
    self.problems = curation.without(self.problems, removals)


def run(
  context: Context,
  evaluation: Sequence[Problem],
  respond: Respond | None,
  model: str,
) -> tuple[list[Problem], list[Step]]:
  """The problems that stay, tagged, and all steps.

  With samples, a problem's difficulty becomes 1 - pass rate.

  Args:
    context: of the run; its training problems are curated.
    evaluation: problems that must not be trained on.
    respond: writes responses; None if no step needs a model.
    model: names the weights.

  Raises:
    Refused: the bound on the share of a tag cannot hold.
  """
  config, c = context.config, context.config.curation
  found = Funnel(context.task.train)
  encode = context.task.encode_prompt
  longest = config.rollout.max_prompt_length
  alike, variant = c.duplicate_similarity, c.variant_similarity
  apply = found.apply
  apply(lambda: curation.without_answer(found.problems))
  lengths = [len(encode(problem.prompt)) for problem in found.problems]
  apply(lambda: curation.too_long(found.problems, lengths, longest))
  apply(lambda: curation.exact_duplicates(found.problems))
  apply(
    lambda: curation.evaluation_overlap(
      found.problems, evaluation, alike, variant
    )
  )
  apply(lambda: curation.question_types_in(found.problems, c.excluded_types))
  apply(lambda: curation.near_duplicates_within(found.problems, alike))
  found.problems = _tagged(context, found.problems, respond, model)
  bounds = c.max_per_tag, c.max_tag_share, config.seed
  _unbalanced(found.problems, bounds)  # Refuses before more is sampled.
  draw = functools.partial(_draw, context, respond, model)
  _by_difficulty(config, found, draw)
  _by_guesses(config, context.task, found, draw)
  apply(lambda: _unbalanced(found.problems, bounds))
  return found.problems, found.steps


def _unbalanced(problems, bounds):
  try:
    return curation.over_represented(problems, *bounds)
  except ValueError as error:
    raise Refused(f'curate: curation.max_tag_share: {error}') from None


def columns_of(config: Any, task: Task) -> int:
  """Tokens of the longest question with its answer, of all that may be asked.

  At least those of a rollout in training.  Guesses and tags are asked in other
  words than problems are, whose prompts alone are bounded.
  """
  r, c = config.rollout, config.curation
  forms = []
  if c.guesses:
    beginning = len(task.tokenizer.encode(_guess_prefix(config, task)))
    rest = beginning + c.guess_max_length
    forms.append((lambda prompt: prompt + c.guess_suffix, rest))
  if c.tagger == 'model':
    forms.append((tagging.question, _TAG_TOKENS))
  prompts = [
    problem.prompt
    for problem in (task.train if forms else ())
    if len(task.encode_prompt(problem.prompt)) <= r.max_prompt_length
  ]
  lengths = [
    len(task.encode_turn(text_of(prompt))) + rest
    for text_of, rest in forms
    for prompt in prompts
  ]
  return max([r.max_prompt_length + r.max_length, *lengths])


def _guess_prefix(config, task):
  """What a guess begins with; a thinking that its prompt begins ends there."""
  c = config.curation
  is_open = task.opening_of_turn(c.guess_suffix)
  if not is_open or thinking.CLOSES in c.guess_prefix:
    return c.guess_prefix
  # As templates write that answer without thinking.
  return f'\n{thinking.CLOSES}\n\n{c.guess_prefix}'


def _by_difficulty(config, found, draw):
  """Pass rates of full responses: the trivial go, the others get theirs."""
  c = config.curation
  if not c.samples:
    found.apply(list, 'left out: curation.samples is 0')
    return
  form = config.task.prompt_suffix, '', config.rollout.max_length
  start = time.perf_counter()
  rates = draw('pass rates', found.problems, c.samples, form).mean(axis=1)
  seconds = time.perf_counter() - start
  found.problems = [
    dataclasses.replace(problem, difficulty=float(1 - rate))
    for problem, rate in zip(found.problems, rates, strict=True)
  ]
  bounds = c.samples, c.max_pass_rate
  found.apply(lambda: curation.trivial(found.problems, rates, *bounds))
  found.steps[-1] = dataclasses.replace(found.steps[-1], seconds=seconds)


def _by_guesses(config, task, found, draw):
  """Answers that leave no room to reason: one right, and the problem goes."""
  c = config.curation
  form = c.guess_suffix, _guess_prefix(config, task), c.guess_max_length

  # Its few tokens are what makes a guess, so one that they cut off has ended.
  # A problem that goes for half an answer is missed less than one that stays
  # for an answer with a word after it.
  def guessed():
    values = draw('guesses', found.problems, c.guesses, form, has_ended=True)
    return curation.guessable(found.problems, values > 0)

  found.apply(
    guessed,
    '' if c.guesses else 'left out: curation.guesses is 0',
  )


def _draw(
  context: Context,
  respond: Respond,
  model: str,
  label: str,
  problems: Sequence[Problem],
  samples: int,
  form: tuple[str, str, int],
  has_ended: bool = False,
) -> np.ndarray:
  """Which are right, float64 [len(problems), samples].

  `form` is as in `asks_of`, `has_ended` as in `pass_rates.judge`.
  """
  suffix, prefix, length = form
  config = context.config
  asks = asks_lib.asks_of(
    problems,
    suffix,
    prefix,
    samples,
    length,
    config.curation.temperature,
    model,
    config.seed,
  )
  store = _drawn(context, asks, respond, label)
  routes = config_routes.routes_of(config.reward.default, config.reward.routes)

  def judge_of(problem):
    route = routes.get(problem.domain, routes[''])
    cut_is_wrong = config.reward.cut_is_wrong and not has_ended
    return asks_lib.judge_of(config, route, problem.answer, cut_is_wrong)

  def submit(ask, text, stop):
    # What was asked is not always what the task asks.
    opening = context.task.opening_of_turn(ask.question)
    return context.submit(ask.problem, text, stop, opening)

  right = pass_rates.judge(
    asks,
    submit,
    judge_of,
    store,
    functools.partial(_stop_if_asked, context.stop_poll()),
    has_ended,
  )
  return hosts.of_first(right).reshape(len(problems), samples)


def _drawn(context, asks, respond, label):
  """The store, with a response for each ask; all processes read the same."""
  hosts.wait(f'curate: {label}')
  path = context.workdir / FOLDER / 'samples.jsonl'
  store = pass_rates.Store(path, writes=hosts.is_first())
  hosts.wait(f'curate: {label}, read')
  is_stopping = context.stop_poll()
  with logs.Progress(len(asks), 0, f'curate: {label}') as progress:

    def on_response():
      progress.update()
      _stop_if_asked(is_stopping)

    pass_rates.draw(asks, respond, store, on_response)
  return store


def _stop_if_asked(is_stopping):
  if is_stopping():
    raise context_lib.Interrupted('curate: the samples so far are kept')


def _tagged(context, problems, respond, model):
  """Domain and discipline: of the file, else of a model, else by rules."""
  tags = [None] * len(problems)
  config = context.config
  if config.curation.tagger == 'model':
    questions = [
      dataclasses.replace(p, prompt=tagging.question(p.prompt))
      for p in problems
    ]
    asks = asks_lib.asks_of(
      questions,
      '',
      '',
      1,
      _TAG_TOKENS,
      config.curation.temperature,
      model,
      config.seed,
    )
    store = _drawn(context, asks, respond, 'tags')
    tags = [tagging.read_tag(store.text(ask)) for ask in asks]
  return [_tag(p, tag) for p, tag in zip(problems, tags, strict=True)]


def _tag(problem: Problem, tag: Any) -> Problem:
  if problem.domain and problem.discipline:
    return problem
  domain, discipline = tag or tagging.by_rules(problem.prompt)
  return dataclasses.replace(
    problem,
    domain=problem.domain or domain,
    discipline=problem.discipline or discipline,
  )
