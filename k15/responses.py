"""Several responses to each problem, judged, in a file that outlives the run.

One line for each response; a sampling that was cut off goes on where it stopped
and nothing is sampled twice.  A line says what decided its response and its
verdict.  Where that is not what decides them now, another model, another
prompt, it is not used; where only the judge is another one, or the reference,
the response is judged again.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from k15 import asks
from k15 import config_routes
from k15 import context as context_lib
from k15 import correctness
from k15 import files
from k15 import fingerprints
from k15 import hosts
from k15 import logs
from k15 import rollouts
from k15 import run_weights
from k15 import streams
from k15.context import Context
from k15.data_types import Problem, StopReason, Trajectory
from k15.rewards import scoring
from k15.rollout import partial

_LINES_AT_ONCE = 64  # that are written


@dataclasses.dataclass(frozen=True, eq=False)
class Response:
  """Attributes:
  tokens: int32 [T], the end-of-sequence token included.
  is_correct: whether it was judged so, and ended by itself.
  """

  tokens: np.ndarray
  is_correct: bool

  @property
  def length(self) -> int:
    """Tokens."""
    return len(self.tokens)


def collect(
  context: Context, model: pathlib.Path | None, num_problems: int, samples: int
) -> list[tuple[Problem, list[Response]]]:
  """Responses of a model to training problems, from the file or sampled now.

  The file is `long2short.responses` of the config, or responses.jsonl of the
  workdir.  It may hold responses of other models too: each line says of which.

  Args:
    context: of the run.
    model: its directory; None: random weights.
    num_problems: the first of the training set.
    samples: of each problem.

  Raises:
    Interrupted: the run was asked to stop; what was judged is in the file.
    scoring.Failed: every verdict is an error; none of them is in the file.
  """
  path = pathlib.Path(
    context.config.long2short.responses or context.workdir / 'responses.jsonl'
  )
  problems = context.task.train[:num_problems]
  records = _Records(path, context, model, problems)
  wanted = [(problem, i) for problem in problems for i in range(samples)]
  state = [[records.has(p, i), records.is_judged(p, i)] for p, i in wanted]
  has, is_judged = hosts.of_first(np.array(state).reshape(-1, 2)).T
  path.parent.mkdir(parents=True, exist_ok=True)
  try:
    for i in np.flatnonzero(has & ~is_judged):
      records.judge(*wanted[i])
    missing = [wanted[i] for i in np.flatnonzero(~has)]
    if missing:
      _sample(context, model, problems, missing, records)
    records.finish()
  finally:
    records.write()
  found = [records.found[p.id, i] for p, i in wanted]
  right = hosts.of_first(np.array([correctness.is_right(r) for r in found]))
  responses = [
    Response(np.array(record['tokens'], np.int32), bool(is_right))
    for record, is_right in zip(found, right, strict=True)
  ]
  return [
    (problem, responses[i * samples : (i + 1) * samples])
    for i, problem in enumerate(problems)
  ]


def accuracy_and_tokens(
  collected: Sequence[tuple[Problem, Sequence[Response]]],
) -> tuple[float, float]:
  """Share of correct ones among all responses, and the mean length of all."""
  responses = [r for _, of_problem in collected for r in of_problem]
  accuracy = np.mean([r.is_correct for r in responses])
  return float(accuracy), float(np.mean([r.length for r in responses]))


class _Records:
  """Lines of the file that apply, by problem and sample, and those to come."""

  def __init__(self, path, context, model, problems):
    config, task = context.config, context.task
    self._path, self._context = path, context
    facts = dict(
      model=fingerprints.of_model(model) if model else '',
      max_length=config.rollout.max_length,
      temperature=config.rollout.temperature,
      **asks.sampling_of(config),
    )
    r = config.reward
    routes = config_routes.routes_of(r.default, r.routes)
    self._facts, self._judges = {}, {}
    for problem in problems:
      asked = asks.digest(task.encode_prompt(problem.prompt).tolist())
      route = routes.get(problem.domain, routes[''])
      own = dict(prompt=problem.prompt, asked=asked)
      self._facts[problem.id] = facts | own
      self._judges[problem.id] = asks.judge_of(config, route, problem.answer)
    self.found = {}
    self._judging, self._lines = collections.deque(), []
    for record in files.read_jsonl(path):
      self._take(record)
    self._kept = scoring.Withheld(
      self._keep,
      'responses',
      has_judged=any(
        record.get('judge') == self._judges[name]
        for (name, _), record in self.found.items()
      ),
    )

  def has(self, problem: Problem, sample: int) -> bool:
    """Whether this was sampled."""
    return (problem.id, sample) in self.found

  def is_judged(self, problem: Problem, sample: int) -> bool:
    """Whether that has a verdict of the judge that would judge it now."""
    record = self.found.get((problem.id, sample), {})
    return record.get('judge') == self._judges[problem.id]

  def add(self, problem: Problem, trajectory: Trajectory) -> None:
    """Has a new response judged."""
    record = self._facts[problem.id] | dict(
      problem_id=problem.id,
      sample=trajectory.sample_index,
      response=self._context.task.tokenizer.decode(trajectory.tokens),
      tokens=trajectory.tokens.tolist(),
      stop=trajectory.stop.value,
    )
    self._begin(problem, record)

  def judge(self, problem: Problem, sample: int) -> None:
    """Has one that is there judged again."""
    self._begin(problem, self.found[problem.id, sample])

  def finish(self) -> None:
    """Waits for all verdicts.

    Raises:
      scoring.Failed: all are errors.
    """
    self.take(waits=True)
    self._kept.finish()

  def take(self, waits: bool = False) -> None:
    """Takes in the verdicts that are there, in order."""
    while self._judging and (waits or self._judging[0][-1].done()):
      record, verdict = self._judging.popleft()
      self._kept.add(record, verdict.result())

  def write(self) -> None:
    """Puts what was taken in on disk."""
    if hosts.is_first() and self._lines:
      files.append_jsonl(self._path, self._lines)
    self._lines = []

  def _begin(self, problem, record):
    stop = StopReason(record['stop'])
    verdict = self._context.submit(problem, record['response'], stop)
    self._judging.append((record, verdict))

  def _keep(self, record, verdict):
    line = record | dict(
      judge=self._judges[record['problem_id']],
      reward=scoring.reward_of(verdict),
      accuracy=scoring.parts_of(verdict)['accuracy'],
      verdict=verdict.kind,
      reason=verdict.reason,
    )
    self._take(line)
    self._lines.append(line)
    if len(self._lines) == _LINES_AT_ONCE:
      self.write()

  def _take(self, record):
    """The last line of a response counts."""
    facts = self._facts.get(record['problem_id'])
    if facts and record.items() >= facts.items():
      self.found[record['problem_id'], record['sample']] = record


def _sample(context, model, problems, missing, records):
  """Samples the missing responses; each is judged meanwhile.

  Raises:
    Interrupted: asked to stop; what was sampled is judged.
  """
  config, task = context.config.rollout, context.task
  by_id = dict(enumerate(problems, streams.IDS['responses'].start))
  ids = {problem.id: group_id for group_id, problem in by_id.items()}
  pending = [
    (problem, Trajectory(ids[problem.id], problem.id, i))
    for problem, i in missing
  ]
  is_stopping, stopping = context.stop_poll(), False
  with (
    rollouts.sampling(
      context, run_weights.load_params(context, model), 'responses'
    ) as rollout,
    logs.Progress(len(pending), 0, 'sample responses') as progress,
  ):
    for trajectory in partial.run(
      rollout, pending, task.encode_prompt, config.max_length,
      config.max_length, config.temperature,
    ):  # fmt: skip
      problem = by_id[trajectory.group_id]
      records.add(problem, trajectory)
      progress.update()
      records.take()
      stopping = is_stopping()
      if stopping:
        break
  if stopping:
    records.finish()
    raise context_lib.Interrupted('responses: saved, not all sampled yet')
