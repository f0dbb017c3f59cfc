"""The stage 'evaluate': a model on sets of problems, and what it scored.

It leaves in `workdir/evaluation`

  results.json   the measures of each set
  SET.jsonl      a record per response, in order: what `k15.compare` reads
  journal-*      what has been sampled, per model and sampling; see eval_journal

Cut off in any way, it goes on with the responses that are missing; each draws
its random numbers by set, problem and sample, so the end is the same.
"""

import dataclasses
import hashlib
import json
import pathlib
import time
from concurrent.futures import Future
from typing import Any

import jax

from k15 import context as context_lib
from k15 import eval_journal
from k15 import eval_table
from k15 import evaluate
from k15 import metrics
from k15 import models
from k15 import sharding
from k15.context import Context
from k15.data_types import Problem, StopReason, Trajectory
from k15.rewards import routes as routes_lib
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.rollout import partial

_PIECES = 16, 4096  # of each file of weights, and their bytes


@dataclasses.dataclass(frozen=True)
class Question:
  """One response that is wanted.

  Attributes:
    key: set, problem and sample.
    group_id: with the sample, of its random numbers.
    problem: with the prompt as it is asked.
    reward: what judges it.
    judge: reward and reference, as a short name.
  """

  key: eval_journal.Key
  group_id: int
  problem: Problem
  reward: str
  judge: str


def run(context: Context, source: str | pathlib.Path) -> dict[str, Any]:
  """Evaluates the model at `source`, or what is left of that.

  Args:
    context: of the run.
    source: a model's directory, or a workdir.

  Returns:
    Measures by set, as in results.json.

  Raises:
    ValueError: there is no model.
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  config, e = context.config, context.config.evaluation
  questions = _questions(config, context.task.sets)
  task = dataclasses.replace(context.task, prompt_suffix='')
  source = models.directory_of(source)
  facts = dict(
    model=fingerprint(source), temperature=e.temperature, top_p=e.top_p
  )
  folder = context.workdir / 'evaluation'
  folder.mkdir(parents=True, exist_ok=True)
  digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
  journal = eval_journal.Journal(
    folder / f'journal-{digest}.jsonl', writes=jax.process_index() == 0
  )
  _sample(context, task, source, questions, journal)
  return _write(context, folder, facts, source, questions, journal)


def fingerprint(directory: pathlib.Path) -> str:
  """Short name of a model's weights and tokenizer, from pieces of its files.

  Names, sizes and some thousand bytes at even distances: training changes
  nearly every byte, and a model of a terabyte is told apart at once.
  """
  found = hashlib.sha256()
  for path in sorted(directory.iterdir()):
    if (
      path.suffix not in ('.json', '.safetensors') or path.name == models.ORIGIN
    ):
      continue
    size = path.stat().st_size
    found.update(f'{path.name} {size}\n'.encode())
    count, length = _PIECES
    with open(path, 'rb') as file:
      for i in range(count):
        file.seek(max(size - length, 0) * i // (count - 1))
        found.update(file.read(length))
  return found.hexdigest()[:16]


def _questions(config, sets) -> list[Question]:
  """All that is asked, in order of sets, problems and samples."""
  routes = routes_lib.routes_of(config.reward.default, config.reward.routes)
  questions, taken = [], set()
  for found in sets:
    for problem in found.problems:
      reward = found.reward or routes.get(problem.domain, routes[''])
      text = f'{reward}\n{problem.answer}'.encode()
      judge = f'{reward}:{hashlib.sha256(text).hexdigest()[:12]}'
      # By name, so that other problems beside it change nothing.
      name = hashlib.sha256(f'{found.name}\n{problem.id}'.encode()).digest()
      group_id = int.from_bytes(name[:4]) % evaluate.FIRST_GROUP_ID
      while group_id in taken:
        group_id = (group_id + 1) % evaluate.FIRST_GROUP_ID
      taken.add(group_id)
      questions += [
        Question(
          (found.name, problem.id, sample),
          evaluate.FIRST_GROUP_ID + group_id,
          problem,
          reward,
          judge,
        )
        for sample in range(config.evaluation.samples)
      ]
  return questions


def _sample(context, task, source, questions, journal):
  """Samples and judges what the journal lacks."""
  missing, unjudged = [], []
  for question in questions:
    where = question.key, question.problem.prompt
    if not journal.response(*where):
      missing.append(question)
    elif not journal.verdict(*where, question.judge):
      unjudged.append(question)
  if not missing and not unjudged:
    return
  scorer = context_lib.make_scorer(
    context.config, {_route(q): q.reward for q in questions}
  )
  try:
    judging = _Judging(scorer, journal)
    for question in unjudged:
      judging.begin(question)
    if missing:
      done = len(questions) - len(missing)
      with metrics.Progress(len(questions), done, 'evaluate') as progress:
        _answer(context, task, source, missing, journal, judging, progress)
    judging.finish()
  finally:
    scorer.close()


def _answer(context, task, source, missing, journal, judging, progress):
  config, e = context.config, context.config.evaluation
  by_name = {(q.group_id, q.key[2]): q for q in missing}
  rollout = context_lib.make_rollout(context)
  rollout.set_params(context_lib.load_params(context, source), version=0)
  start, tokens = time.perf_counter(), 0
  with sharding.use_mesh(context.mesh):
    for trajectory in partial.run(
      rollout,
      [
        (q.problem, Trajectory(q.group_id, q.problem.id, q.key[2]))
        for q in missing
      ],
      task.encode_prompt,
      config.rollout.max_length,
      config.rollout.max_length,
      e.temperature,
      e.top_p,
    ):
      question = by_name[trajectory.group_id, trajectory.sample_index]
      journal.add_response(
        question.key,
        prompt=question.problem.prompt,
        response=task.tokenizer.decode(trajectory.tokens),
        length=trajectory.length,
        stop=trajectory.stop.value,
      )
      judging.begin(question)
      judging.take()
      tokens += trajectory.length
      progress.update()
      if context.stop.is_set():
        raise context_lib.Interrupted('evaluate: what was sampled is saved')
  rollout.close()
  seconds = time.perf_counter() - start
  print(f'{tokens} tokens in {seconds:.1f} s: {tokens / seconds:.0f} a second')


class _Judging:
  """Verdicts on their way into the journal."""

  def __init__(self, scorer: scoring.Scorer, journal: eval_journal.Journal):
    self._scorer, self._journal = scorer, journal
    self._pending: list[tuple[Question, Future[Verdict]]] = []

  def begin(self, question: Question) -> None:
    """Has the response judged that the journal holds."""
    problem = dataclasses.replace(question.problem, domain=_route(question))
    entry = self._journal.response(question.key, question.problem.prompt)
    future = self._scorer.submit(problem, entry['response'])
    self._pending.append((question, future))

  def take(self) -> None:
    """Takes in the verdicts that are there."""
    waiting = []
    for question, future in self._pending:
      if not future.done():
        waiting.append((question, future))
        continue
      entry = self._journal.response(question.key, question.problem.prompt)
      verdict = evaluate.settle(future.result(), StopReason(entry['stop']))
      self._journal.add_verdict(
        question.key, question.judge, verdict.kind, verdict.reason
      )
    self._pending = waiting

  def finish(self) -> None:
    """Waits for the rest."""
    for _, future in self._pending:
      future.result()
    self.take()


def _route(question):
  """A domain of its own for each reward that a set asks for."""
  return f'evaluate:{question.reward}'


def _write(context, folder, facts, source, questions, journal):
  """Records, results and table of a finished evaluation."""
  config, e = context.config, context.config.evaluation
  records, rewards = {}, {}
  for question in questions:
    name, problem_id, _ = question.key
    records.setdefault(name, []).append(_record(question, journal))
    rewards[name, problem_id] = question.reward
  results = {
    name: evaluate.measure(
      found,
      lambda record: rewards[record['set'], record['problem_id']],
      config.task.answer_marker,
      e.pass_at,
      e.interval,
      e.resamples,
      config.seed,
    )
    for name, found in records.items()
  }
  settings = dict(
    model=str(source),
    fingerprint=facts['model'],
    temperature=e.temperature,
    top_p=e.top_p,
    samples=e.samples,
    max_length=config.rollout.max_length,
    interval=e.interval,
    seed=config.seed,
  )
  if jax.process_index() == 0:
    for name, found in records.items():
      metrics.replace_jsonl(folder / f'{name}.jsonl', found)
    text = json.dumps(dict(settings=settings, sets=results), indent=2) + '\n'
    metrics.replace_file(folder / 'results.json', text.encode())
  print(eval_table.of_results(results, e.interval), flush=True)
  return results


def _record(question, journal) -> evaluate.Record:
  name, _, sample = question.key
  problem = question.problem
  entry = journal.verdict(question.key, problem.prompt, question.judge)
  is_program = question.reward == 'code_tests'  # Its tests are not to be read.
  return dict(
    set=name,
    problem_id=problem.id,
    sample=sample,
    prompt=problem.prompt,
    answer='' if is_program else problem.answer,
    response=entry['response'],
    reward=float(entry['verdict'] == 'correct'),
    verdict=entry['verdict'],
    reason=entry['reason'],
    length=entry['length'],
    stop=entry['stop'],
    domain=problem.domain,
    difficulty=problem.difficulty,
    judge=question.judge,
  )


def pooled(results: dict[str, Any]) -> dict[str, float]:
  """Accuracy and mean length over the problems of all sets."""
  total = sum(r['problems'] for r in results.values())

  def mean(key):
    values = results.values()
    return sum(r['problems'] * r[key]['value'] for r in values) / total

  return dict(accuracy=mean('pass@1'), mean_tokens=mean('mean_tokens'))
