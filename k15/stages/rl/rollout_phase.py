"""The rollout phase of an iteration: responses grow, and are judged meanwhile.

`sample` asks for a verdict as soon as a response is finished, `score` waits for
those that are not there yet when the last one is, and puts what each response
has earned into the buffer.  `rounds` says when they are called.
"""

import functools
from collections.abc import Mapping, Sequence

from k15.config import routes
from k15.data_types import Problem, Trajectory
from k15.devices import hosts
from k15.rewards import scoring
from k15.rollout import partial
from k15.stages.rl import rewards
from k15.stages.rl import updates
from k15.stages.rl.growing import Sampled
from k15.stages.rl.growing import Verdicts
from k15.stages.rl.stage import Stage


def sample(
  stage: Stage,
  problems: Mapping[int, Problem],
  pending: Sequence[tuple[Problem, Trajectory]],
  expired: Sequence[Trajectory],
  iteration: int,
) -> Sampled:
  """Grows pending responses and has judged, meanwhile, what is finished.

  Of the stage it changes nothing: others may, while it runs on a thread.

  Args:
    problems: by group id, of all these responses.
    pending: responses to start or continue, in this order.
    expired: trajectories that are finished by their age.
    iteration: the current one, by which the temperature may fall.

  Returns:
    The trajectories, None if the run is to stop, and the verdicts to come, by
    (group_id, sample_index).
  """
  context = stage.context
  config, tokenizer = context.config.rollout, context.task.tokenizer
  journal = stage.records.journal
  temperature = updates.decayed_temperature(context.config, iteration)
  sampled, verdicts = [], {}

  def judge(trajectory):
    key = trajectory.group_id, trajectory.sample_index
    text = tokenizer.decode(trajectory.tokens)
    known = journal.verdict(key, text)
    if known is not None:
      verdicts[key] = context.scorer.known(known)
      return
    judged = context.submit(problems[key[0]], text, trajectory.stop)
    judged.add_done_callback(functools.partial(_keep, journal, key, text))
    verdicts[key] = judged

  for trajectory in expired:
    judge(trajectory)
  is_stopping = context.stop_poll()
  with context.rollout_layout.use_mesh():
    for trajectory in partial.run(
      stage.rollout,
      pending,
      context.task.encode_prompt,
      config.token_budget,
      config.max_length,
      config.temperature if temperature is None else temperature,
      routes.lengths_of(config.domain_max_lengths),
      journal.phase(),
    ):
      sampled.append(trajectory)
      if is_stopping():
        return None, {}
      if trajectory.is_finished:
        judge(trajectory)
  return sampled, verdicts


def _keep(journal, key, text, judged):
  """Writes down a verdict, if there is one."""
  if not judged.cancelled() and judged.exception() is None:
    journal.keep_verdict(key, text, judged.result())


def score(stage: Stage, verdicts: Verdicts, iteration: int) -> None:
  """Waits for verdicts; the buffer gets raw rewards and their parts.

  Raises:
    scoring.Failed: in all processes, if the first one could not judge.
  """
  finished = [t for _, t in stage.buffer.unscored()]
  where, failure = f'{stage.name}: iteration {iteration}', ''
  try:
    found = [verdicts[t.group_id, t.sample_index].result() for t in finished]
    scoring.refuse_errors(found, where)
  except scoring.Failed as error:
    failure = str(error)
  if hosts.any_of(bool(failure)):
    raise scoring.Failed(failure or f'{where}: the first process cannot judge')
  stage.buffer.set_rewards(finished, *rewards.earned(found))
