"""The rewards that a config routes to, made with its settings.

Pages of `k15.rewards` see no config: what of it they need is handed to them
here.  A new reward is a page there with a `Judge`, its row in
`routes.REWARDS`, by which routes may name it, and the row in `_MAKERS`, by
which it is made.
"""

import contextlib
import functools
import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import config_routes
from k15 import task as task_lib
from k15.rewards import answer_workers
from k15.rewards import code_tests
from k15.rewards import exact_answer
from k15.rewards import math_answers
from k15.rewards import reward_client
from k15.rewards import rules
from k15.rewards import sandbox
from k15.rewards import sandbox_rungs
from k15.rewards import scoring
from k15.rewards.verdict import Verdict


def make_scorer(
  config: Any,
  task: task_lib.Task,
  more_routes: Mapping[str, str] | None = None,
) -> scoring.Scorer:
  """The rewards that the config routes to; close it when done.

  `task` puts the prompts; `more_routes`, domain -> reward, are added.

  Raises:
    ValueError: a route that leads nowhere, or no sandbox for programs.
  """
  routes = config_routes.routes_of(config.reward.default, config.reward.routes)
  routes |= more_routes or {}
  terms = itertools.chain(*map(config_routes.terms_of, routes.values()))
  names = sorted({term.reward for term in terms})
  resources = contextlib.ExitStack()
  judges = make_judges(config, names, resources)
  r = config.reward
  return scoring.Scorer(
    judges, routes, r.threads, resources, r.cut_is_wrong, task.opening
  )


def make_judges(
  config: Any, names: Sequence[str], resources: contextlib.ExitStack
) -> dict[str, scoring.Judge]:
  """The named rewards of a config.

  Args:
    config: the whole.
    names: of routes.REWARDS.
    resources: gets what has to be closed: sandboxes, worker processes.

  Raises:
    ValueError: programs would have to be run, and nothing safe holds them.
    OSError: no such file of a token.
  """
  return {name: _MAKERS[name](config, resources) for name in names}


def _exact_answer(config, resources):
  del resources
  marker = config.task.answer_marker

  def judge(response, reference):
    right = exact_answer.is_correct(response, reference, marker)
    return Verdict('correct' if right else 'wrong')

  return judge


def _math_answers(config, resources):
  pool = answer_workers.Pool(config.reward.threads)
  resources.callback(pool.close)
  return functools.partial(math_answers.verify, pool=pool)


def _code_tests(config, resources):
  r = config.reward
  limits = sandbox.Limits(seconds=r.program_seconds)
  if r.services:
    client = reward_client.Client(r.services, _token(r.token_file))
    return functools.partial(client.verify, limits=limits)
  try:
    pool = sandbox.Pool(r.sandbox_workers, lowest=r.sandbox_lowest)
  except sandbox_rungs.SandboxError as error:
    raise ValueError(f'reward code_tests: {error}') from None
  resources.callback(pool.close)
  return functools.partial(code_tests.verify, pool, limits=limits)


def _token(path):
  if path:
    return pathlib.Path(path).read_text().strip()
  return os.environ.get(reward_client.TOKEN_VARIABLE, '')


def _r1_format(config, resources):
  del config, resources
  return rules.verify_format


# Of each, (config, resources) -> its judge.
_MAKERS = {
  'exact_answer': _exact_answer,
  'math_answers': _math_answers,
  'code_tests': _code_tests,
  'r1_format': _r1_format,
}
