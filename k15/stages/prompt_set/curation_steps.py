"""The funnel of `funnel.py` on the problems of a run, samples included."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from k15 import streams
from k15.curation import funnel
from k15.curation import labels
from k15.curation.funnel import Removal
from k15.curation.funnel import Step
from k15.data_types import Problem, StopReason
from k15.devices import hosts
from k15.generation import asks as asks_lib
from k15.generation.asks import Ask
from k15.generation.journal import Journal
from k15.generation.writers import Writer
from k15.rewards import thinking
from k15.runtime import responses
from k15.runtime.context import Context
from k15.runtime.task import Task

FOLDER = 'curation'  # in the workdir
_TAG_TOKENS = 32  # of a model's answer


class Refused(Exception):
  """The prompt set cannot be made, or not be changed any more."""


class Funnel:
  """Problems that still stay, and the steps they went through."""

  def __init__(self, problems: Sequence[Problem]):
    self.problems, self.steps = list(problems), []

  def apply(self, decide: Callable[[], list[Removal]], note: str = '') -> None:
    """Takes the next step of `funnel.STEPS`; with a note, leaves it out."""
    start = time.perf_counter()
    removals = [] if note else decide()
    self.steps.append(
      Step(
        funnel.STEPS[len(self.steps)],
        len(self.problems),
        tuple(removals),
        time.perf_counter() - start,
        note,
      )
    )
    self.problems = funnel.without(self.problems, removals)


def run(
  context: Context,
  evaluation: Sequence[Problem],
  write: Writer | None,
  model: str,
) -> tuple[list[Problem], list[Step]]:
  """The problems that stay, tagged, and all steps.

  With samples, a problem's difficulty becomes 1 - pass rate.

  Args:
    context: of the run; its training problems are curated.
    evaluation: problems that must not be trained on.
    write: answers what is asked; None if no step needs a model.
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
  apply(lambda: funnel.without_answer(found.problems))
  lengths = [len(encode(p.prompt, p.images)) for p in found.problems]
  apply(lambda: funnel.too_long(found.problems, lengths, longest))
  apply(lambda: funnel.exact_duplicates(found.problems))
  apply(
    lambda: funnel.evaluation_overlap(
      found.problems, evaluation, alike, variant
    )
  )
  apply(lambda: funnel.question_types_in(found.problems, c.excluded_types))
  apply(lambda: funnel.near_duplicates_within(found.problems, alike))
  journal = Journal(
    context.workdir / FOLDER / 'samples.jsonl', writes=hosts.is_first()
  )
  found.problems = _tagged(context, found.problems, write, model, journal)
  bounds = c.max_per_tag, c.max_tag_share, config.seed
  _unbalanced(found.problems, bounds)  # Refuses before more is sampled.
  draw = functools.partial(_draw, context, write, model, journal)
  _by_difficulty(config, found, draw)
  _by_guesses(config, context.task, found, draw)
  apply(lambda: _unbalanced(found.problems, bounds))
  return found.problems, found.steps


def _unbalanced(problems, bounds):
  try:
    return funnel.over_represented(problems, *bounds)
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
    forms.append((labels.question, _TAG_TOKENS))
  problems = [
    p
    for p in (task.train if forms else ())
    if len(task.encode_prompt(p.prompt, p.images)) <= r.max_prompt_length
  ]
  lengths = [
    len(task.encode_turn(text_of(p.prompt), p.images)) + rest
    for text_of, rest in forms
    for p in problems
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
  found.apply(lambda: funnel.trivial(found.problems, rates, *bounds))
  # `apply` has timed the decision alone, and it is the sampling that takes
  # time.
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
    removals = funnel.guessable(found.problems, values > 0)
    left = funnel.without(found.problems, removals)
    seen = [p for p in left if p.images]
    if not seen:
      return removals
    # Who answers without the picture has not read it.
    blind = list(map(without_pictures, seen))
    values = draw('blind guesses', blind, c.guesses, form, has_ended=True)
    reason = 'guessed right without the picture'
    return removals + funnel.guessable(seen, values > 0, reason)

  found.apply(guessed, '' if c.guesses else 'left out: curation.guesses is 0')


def without_pictures(problem: Problem) -> Problem:
  """The problem as text alone, without the marks of its pictures."""
  prompt = problem.prompt.replace('<image>', '').strip()
  return dataclasses.replace(problem, prompt=prompt, images=())


def _draw(
  context: Context,
  write: Writer,
  model: str,
  journal: Journal,
  label: str,
  problems: Sequence[Problem],
  samples: int,
  form: tuple[str, str, int],
  has_ended: bool = False,
) -> np.ndarray:
  """Which are right, float64 [len(problems), samples].

  `form` is as in `asks_of`.  `has_ended`: whether every response counts as one
  that ended by itself: a guess is bounded by design, and has had its say.
  """
  config = context.config
  judge = responses.judging(context)

  def name_of(problem):
    cut_is_wrong = config.reward.cut_is_wrong and not has_ended
    return asks_lib.judge_of(config, problem, cut_is_wrong=cut_is_wrong)

  def judge_ended(ask, text, stop):
    return judge(ask, text, StopReason.EOS if has_ended else stop)

  temperature, seed = config.curation.temperature, config.seed
  asks = asks_of(problems, form, samples, temperature, model, seed, name_of)
  label = f'curate: {label}'
  responses.drawn(context, asks, write, judge_ended, journal, label)
  right = [journal.verdict(ask)['accuracy'] for ask in asks]
  return hosts.of_first(np.array(right, float)).reshape(-1, samples)


def asks_of(
  problems: Sequence[Problem],
  form: tuple[str, str, int],
  samples: int,
  temperature: float,
  model: str,
  seed: int,
  judge_of: Callable[[Problem], str] = lambda problem: '',
) -> list[Ask]:
  """`samples` asks for each problem, whose random ids are made of their keys.

  So a response does not hang on which problems are asked beside it, and equal
  prompts are one key: they are answered once.

  Args:
    form: text after a prompt, beginning of every response, and the tokens
      that follow it at most.
    model: names the weights; others, another name.
    judge_of: `Ask.judge` of a problem.
  """
  asks, ids = [], streams.IDS['curation']
  suffix, prefix, max_tokens = form
  for problem in problems:
    text = problem.prompt + suffix
    facts = text, prefix, max_tokens, temperature, model, seed
    key = asks_lib.digest(*facts, *problem.digests)
    # 28 bits: two keys that begin alike share their random numbers.
    group_id, judge = ids[int(key[:7], 16)], judge_of(problem)
    asks += [
      Ask(
        problem, text, group_id, sample, max_tokens, temperature, key, judge,
        prefix=prefix,
      )
      for sample in range(samples)
    ]  # fmt: skip
  return asks


def _tagged(context, problems, write, model, journal):
  """Domain and discipline: of the file, else of a model, else by rules."""
  tags = [None] * len(problems)
  config = context.config
  if config.curation.tagger == 'model':
    questions = [
      dataclasses.replace(p, prompt=labels.question(p.prompt)) for p in problems
    ]
    form = '', '', _TAG_TOKENS
    temperature, seed = config.curation.temperature, config.seed
    asks = asks_of(questions, form, 1, temperature, model, seed)
    # Nothing judges a tag.
    judge = lambda ask, text, stop: None  # noqa: E731
    responses.drawn(context, asks, write, judge, journal, 'curate: tags')
    tags = [labels.read_tag(journal.response(ask).text) for ask in asks]
  return [_tag(p, tag) for p, tag in zip(problems, tags, strict=True)]


def _tag(problem: Problem, tag: Any) -> Problem:
  if problem.domain and problem.discipline:
    return problem
  domain, discipline = tag or labels.by_rules(problem.prompt)
  return dataclasses.replace(
    problem,
    domain=problem.domain or domain,
    discipline=problem.discipline or discipline,
  )
