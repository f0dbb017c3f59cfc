"""Several responses to each problem, judged, in a file that outlives the run.

One line for each response; a sampling that was cut off goes on where it stopped
and nothing is sampled twice.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from k15 import context as context_lib
from k15 import hosts
from k15 import metrics
from k15 import models
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
  """
  path = pathlib.Path(
    context.config.long2short.responses or context.workdir / 'responses.jsonl'
  )
  facts = _facts(context, model)
  problems = context.task.train[:num_problems]
  wanted = [(problem, i) for problem in problems for i in range(samples)]
  records = _read(path, facts)
  has = [_answers(records.get((p.id, i)), p) for p, i in wanted]
  has = hosts.of_first(np.array(has))
  missing = [wanted[i] for i in np.flatnonzero(~has)]
  if missing:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = _sample(context, model, problems, missing)
    for record in _append(path, (facts | line for line in lines)):
      records[record['problem_id'], record['sample']] = record
  found = [records[p.id, i] for p, i in wanted]
  rewards = hosts.of_first(np.array([record['reward'] for record in found]))
  responses = [
    Response(np.array(record['tokens'], np.int32), bool(reward > 0))
    for record, reward in zip(found, rewards, strict=True)
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


def _facts(context, model):
  """What has to be equal for a response to be used again."""
  rollout = context.config.rollout
  return dict(
    model=models.fingerprint(model) if model else '',
    seed=context.config.seed,
    max_length=rollout.max_length,
    temperature=rollout.temperature,
  )


def _read(path, facts):
  """Records of the file to which the facts apply, by problem and sample."""
  return {
    (record['problem_id'], record['sample']): record
    for record in metrics.read_jsonl(path)
    if record.items() >= facts.items()
  }


def _answers(record, problem):
  """Whether the record is of the problem: a changed file has other prompts."""
  return record is not None and record['prompt'] == problem.prompt


def _sample(context, model, problems, missing) -> Iterator[dict[str, Any]]:
  """Records of the missing responses, as they are judged.

  Raises:
    Interrupted: after the last one that was judged in time.
  """
  config, task = context.config.rollout, context.task
  by_id = dict(enumerate(problems, streams.IDS['responses'].start))
  ids = {problem.id: group_id for group_id, problem in by_id.items()}
  pending = [
    (problem, Trajectory(ids[problem.id], problem.id, i))
    for problem, i in missing
  ]
  judged, is_stopping = collections.deque(), False
  with (
    context_lib.sampling(
      context, context_lib.load_params(context, model), 'responses'
    ) as rollout,
    metrics.Progress(len(pending), 0, 'sample responses') as progress,
  ):
    for trajectory in partial.run(
      rollout, pending, task.encode_prompt, config.max_length,
      config.max_length, config.temperature,
    ):  # fmt: skip
      problem = by_id[trajectory.group_id]
      text = task.tokenizer.decode(trajectory.tokens)
      verdict = context.submit(problem, text)
      judged.append((problem, trajectory, text, verdict))
      progress.update()
      while judged and judged[0][-1].done():
        yield _record(*judged.popleft())
      is_stopping = context.is_stopping()
      if is_stopping:
        break
  yield from (_record(*entry) for entry in judged)
  if is_stopping:
    raise context_lib.Interrupted('responses: saved, not all sampled yet')


def _record(problem, trajectory, text, verdict):
  verdict = verdict.result()
  has_ended = trajectory.stop is StopReason.EOS
  return dict(
    problem_id=problem.id,
    sample=trajectory.sample_index,
    prompt=problem.prompt,
    response=text,
    tokens=trajectory.tokens.tolist(),
    reward=scoring.reward_of(verdict) if has_ended else 0.0,
    verdict=verdict.kind,
    stop=trajectory.stop.value,
  )


def _append(path, records):
  """Passes records on, written to the file, however the sampling ends."""
  waiting = []

  def write():
    if hosts.is_first():
      metrics.append_jsonl(path, waiting)
    waiting.clear()

  try:
    for record in records:
      waiting.append(record)
      if len(waiting) == _LINES_AT_ONCE:
        write()
      yield record
  finally:
    write()
