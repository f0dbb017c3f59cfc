"""The rewards that a config routes to, made with its settings.

Pages of `k15.rewards` see no config: what of it they need is handed to them
here.  A new reward is a page there with a `Judge`, its row in
`routes.REWARDS`, by which routes may name it, and the row in `_MAKERS`, by
which it is made.  Reward models are made by `model_rewards`.
"""

import contextlib
import functools
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from k15.config import routes as routes_lib
from k15.rewards import choices
from k15.rewards import client as client_lib
from k15.rewards import rules
from k15.rewards import scoring
from k15.rewards.answers import fallback
from k15.rewards.answers import verify
from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox import walls
from k15.runtime import model_rewards
from k15.runtime import task as task_lib


def make_scorer(
  config: Any,
  task: task_lib.Task,
  more_routes: Mapping[str, str] | None = None,
  workdir: pathlib.Path = pathlib.Path(),
) -> scoring.Scorer:
  """The rewards that the config routes to; close it when done.

  `task` puts the prompts; `more_routes`, domain -> reward, are added; `workdir`
  is where the run leaves the reward models that it trains.

  Raises:
    ValueError: a route that leads nowhere, or no sandbox for programs.
  """
  routes = routes_lib.routes_of(config.reward.default, config.reward.routes)
  routes |= more_routes or {}
  terms = itertools.chain(*map(routes_lib.terms_of, routes.values()))
  r, resources = config.reward, contextlib.ExitStack()
  names = sorted({term.reward for term in terms} | {r.truth} - {''})
  judges = make_judges(config, names, resources, workdir)
  return scoring.Scorer(
    judges, routes, r.threads, resources, r.cut_is_wrong, task.opening, r.truth
  )


def make_judges(
  config: Any,
  names: Sequence[str],
  resources: contextlib.ExitStack,
  workdir: pathlib.Path = pathlib.Path(),
) -> dict[str, scoring.Judge | scoring.ModelJudge]:
  """The named rewards of a config.

  Args:
    names: of routes.REWARDS, or of routes.FOR_EVALUATION.
    resources: gets what has to be closed: sandboxes, worker processes.
    workdir: see `make_scorer`.

  Raises:
    ValueError: programs would have to be run, and nothing safe holds them.
    OSError: no such file of a token.
  """
  made = {}
  for name in names:
    if name in routes_lib.MODELS:
      made[name] = model_rewards.make(config, name, workdir)
    else:
      made[name] = _MAKERS[name](config, resources)
  return made


def _exact_answer(config, resources):
  del resources
  marker = config.task.answer_marker
  return functools.partial(rules.verify_exact, marker=marker)


def _by_answers(verify, config, resources):
  # As many workers as threads that may ask: none waits for another's.
  pool = fallback.Pool(config.reward.threads)
  resources.callback(pool.close)
  return functools.partial(verify, pool=pool)


def _code_tests(config, resources):
  r = config.reward
  limits = pool_lib.Limits(seconds=r.program_seconds)
  if r.services:
    client = client_lib.Client(
      r.services, client_lib.read_token(r.token_file)
    )
    return functools.partial(client.verify, limits=limits)
  try:
    pool = pool_lib.Pool(r.sandbox_workers, lowest=r.sandbox_lowest)
  except walls.SandboxError as error:
    raise ValueError(f'reward code_tests: {error}') from None
  resources.callback(pool.close)
  return functools.partial(programs.verify, pool, limits=limits)


def _r1_format(config, resources):
  del config, resources
  return rules.verify_format


def _r1_language(script, config, resources):
  del config, resources
  return functools.partial(rules.verify_language, script=script)


# Of each rule, (config, resources) -> its judge; models have a page of
# their own.
_MAKERS = {
  'exact_answer': _exact_answer,
  'math_answers': functools.partial(_by_answers, verify.verify),
  'choice': functools.partial(_by_answers, choices.verify),
  'code_tests': _code_tests,
  'r1_format': _r1_format,
  'r1_latin': functools.partial(_r1_language, 'latin'),
  'r1_cjk': functools.partial(_r1_language, 'cjk'),
}
