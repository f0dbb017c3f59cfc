"""Reward models as rewards: what they see of a response, and where they are.

A model of this process is loaded with the first response, for the run may only
be about to train it.  Others are asked over HTTP: `k15.serve_reward`, or, where
it writes its judgements, any OpenAI-compatible server.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

from k15.generation import judgements
from k15.rewards import client as client_lib
from k15.rewards import reward_model
from k15.rewards import rules
from k15.rewards import scoring
from k15.rewards import thinking
from k15.rewards.answers import verify
from k15.rewards.verdict import Verdict
from k15.runtime import model_judges


def make(config: Any, name: str, workdir: pathlib.Path) -> scoring.ModelJudge:
  """The judge of a reward of `routes.MODELS`.

  Where a thinking is not closed, or nothing is answered, the response is wrong,
  and no model is asked.

  Args:
    workdir: of the run, where it leaves the models that it trains.

  Raises:
    OSError: no such file of a token.
  """
  ask = _asked(config, name, workdir)
  sees, marker = config.reward_model.sees, config.task.answer_marker

  def judge(question, response, reference):
    shown = thinking.said(response)
    if shown and sees == 'answer':
      shown = rules.final_answer(response, marker) or verify.boxed(shown)
    if not shown:
      return Verdict('wrong')
    return ask((question, reference, shown))

  return judge


def _asked(
  config: Any, name: str, workdir: pathlib.Path
) -> Callable[[reward_model.Case], Verdict]:
  """What asks the model, wherever it is."""
  r, kind = config.reward_model, name.removesuffix('_rm')
  services = r[f'{kind}_services']
  if services:
    token = client_lib.read_token(config.reward.token_file)
    client = client_lib.Client(services, token)
    return lambda case: client.judge(reward_model.to_request(case))
  if kind == 'cot' and r.cot_server:
    return functools.partial(judgements.by_server, config)
  path = r[kind] or workdir / 'models' / name
  opened = functools.cache(functools.partial(model_judges.load, config, path))
  return reward_model.asked_by_many(
    lambda cases: opened()(cases), config.reward.threads
  )
