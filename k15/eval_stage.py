"""The stage 'evaluate': a model on sets of problems, and what it scored.

It leaves in `workdir/evaluation`

  results.json   the measures of each set
  SET.jsonl      a record per response, in order: what `k15.compare` reads
  journal-*      what has been sampled, per model and sampling; see eval_journal

Cut off in any way, it goes on with the responses that are missing; each draws
its random numbers by set, problem and sample, so the end is the same.  The
held-out problems are answered here after every other stage, too, with a journal
in `held_out`.
"""

import dataclasses
import json
import pathlib
import time
from concurrent.futures import Future
from typing import Any

import numpy as np

from k15 import asks
from k15 import context as context_lib
from k15 import eval_journal
from k15 import eval_questions
from k15 import eval_table
from k15 import evaluate
from k15 import files
from k15 import fingerprints
from k15 import hosts
from k15 import judges
from k15 import logs
from k15 import models
from k15 import rollouts
from k15 import run_weights
from k15.context import Context
from k15.data_types import StopReason, Trajectory
from k15.eval_questions import Question
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.rollout import partial


def run(context: Context, source: str | pathlib.Path) -> dict[str, Any]:
  """Evaluates the model at `source`, or what is left of that.

  Args:
    context: of the run.
    source: a model's directory, or a workdir.

  Returns:
    Measures by set, as in results.json; {} but in the first process.

  Raises:
    ValueError: there is no model.
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  source = models.directory_of(source)
  folder = context.workdir / 'evaluation'
  sets = context.task.sets
  found = _answered(context, source, sets, folder, 'evaluate', 'evaluate')
  return _write(context, folder, source, *found) if hosts.is_first() else {}


def held_out(
  context: Context, stage: str, source: pathlib.Path
) -> list[evaluate.Record]:
  """Records of the held-out problems; [] but in the first process.

  Args:
    context: of the run.
    stage: that left the model.
    source: the model's directory.

  Raises:
    Interrupted: it was asked to stop; what was sampled is on disk.
  """
  found = [context.task.held_out_set()]
  folder = context.workdir / 'evaluation' / 'held_out'
  questions, journal, _ = _answered(
    context, source, found, folder, 'held_out', f'evaluate {stage}'
  )
  if not hosts.is_first():
    return []
  prompts = {problem.id: problem.prompt for problem in context.task.held_out}
  records = [eval_questions.record_of(q, journal) for q in questions]
  return [
    {k: v for k, v in record.items() if k not in ('set', 'judge')}
    | dict(prompt=prompts[record['problem_id']])
    for record in records
  ]


def _answered(context, source, sets, folder, stream, label):
  """Questions, a journal in the folder that answers them, and its facts."""
  config, e = context.config, context.config.evaluation
  task = dataclasses.replace(context.task, prompt_suffix='')
  questions = eval_questions.questions_of(config, sets, task.encode_prompt)
  facts = dict(
    model=fingerprints.of_model(source),
    temperature=e.temperature,
    top_p=e.top_p,
    max_length=config.rollout.max_length,
    **asks.sampling_of(config),
  )
  folder.mkdir(parents=True, exist_ok=True)
  digest = asks.digest(facts)[:12]
  journal = eval_journal.Journal(
    folder / f'journal-{digest}.jsonl', writes=hosts.is_first()
  )
  _sample(context, task, source, questions, journal, stream, label)
  return questions, journal, facts


def _sample(context, task, source, questions, journal, stream, label):
  """Samples and judges what the journal lacks."""
  is_there = hosts.of_first(
    np.array([bool(journal.response(*q.where)) for q in questions])
  )
  missing = [
    q for q, there in zip(questions, is_there, strict=True) if not there
  ]
  unjudged = [
    q
    for q, there in zip(questions, is_there, strict=True)
    if there and hosts.is_first() and not journal.verdict(*q.where, q.judge)
  ]
  if not missing and not unjudged:
    return
  scorer = judges.make_scorer(
    context.config,
    task,
    {eval_questions.route_of(q): q.reward for q in questions},
  )
  try:
    has_judged = len(missing) + len(unjudged) < len(questions)
    judging = _Judging(scorer, journal, has_judged)
    for question in unjudged:
      judging.begin(question)
    if missing:
      done = len(questions) - len(missing)
      with logs.Progress(len(questions), done, label) as progress:
        _answer(
          context,
          task,
          source,
          missing,
          journal,
          judging,
          progress,
          stream,
          label,
        )
    judging.finish()
  finally:
    scorer.close()


def _answer(
  context, task, source, missing, journal, judging, progress, stream, label
):
  config, e = context.config, context.config.evaluation
  by_name = {(q.group_id, q.key[2]): q for q in missing}
  is_stopping = context.stop_poll()
  params = run_weights.load_params(context, source)
  with rollouts.sampling(context, params, stream) as rollout:
    del params
    start, tokens = time.perf_counter(), 0
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
        asked=question.asked,
        prompt=question.problem.prompt,
        response=task.tokenizer.decode(trajectory.tokens),
        length=trajectory.length,
        stop=trajectory.stop.value,
      )
      if hosts.is_first():
        judging.begin(question)
        judging.take()
      tokens += trajectory.length
      progress.update()
      if is_stopping():
        raise context_lib.Interrupted(f'{label}: what was sampled is saved')
  seconds = time.perf_counter() - start
  if hosts.is_first():
    rate = tokens / seconds
    print(
      f'{tokens} tokens in {seconds:.1f} s: {rate:.0f} a second', flush=True
    )


class _Judging:
  """Verdicts on their way into the journal."""

  def __init__(
    self,
    scorer: scoring.Scorer,
    journal: eval_journal.Journal,
    has_judged: bool,
  ):
    self._scorer, self._journal = scorer, journal
    self._kept = scoring.Withheld(self._keep, 'evaluate', has_judged)
    self._pending: list[tuple[Question, Future[Verdict]]] = []

  def begin(self, question: Question) -> None:
    """Has the response judged that the journal holds."""
    problem = dataclasses.replace(
      question.problem, domain=eval_questions.route_of(question)
    )
    entry = self._journal.response(*question.where)
    future = self._scorer.submit(
      problem, entry['response'], StopReason(entry['stop'])
    )
    self._pending.append((question, future))

  def take(self) -> None:
    """Takes in the verdicts that are there."""
    waiting = []
    for question, future in self._pending:
      if not future.done():
        waiting.append((question, future))
        continue
      self._kept.add(question, future.result())
    self._pending = waiting

  def finish(self) -> None:
    """Waits for the rest.

    Raises:
      scoring.Failed: all verdicts are errors; none of them is in the journal.
    """
    for _, future in self._pending:
      future.result()
    self.take()
    self._kept.finish()

  def _keep(self, question, verdict):
    self._journal.add_verdict(
      question.key,
      judge=question.judge,
      verdict=verdict.kind,
      reason=verdict.reason,
      reward=scoring.reward_of(verdict),
      accuracy=scoring.parts_of(verdict)['accuracy'],
    )


def _write(context, folder, source, questions, journal, facts):
  """Records, results and table of a finished evaluation."""
  config, e = context.config, context.config.evaluation
  records, rewards = {}, {}
  for question in questions:
    name, problem_id, _ = question.key
    records.setdefault(name, []).append(
      eval_questions.record_of(question, journal)
    )
    rewards[name, problem_id] = question.reward
  results = {
    name: evaluate.measure(
      found,
      lambda record: rewards[record['set'], record['problem_id']],
      config.task.answer_marker,
      context.task.opening_of_turn,  # Prompts of sets are whole.
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
  for name, found in records.items():
    files.replace_jsonl(folder / f'{name}.jsonl', found)
  text = json.dumps(dict(settings=settings, sets=results), indent=2) + '\n'
  files.replace_file(folder / 'results.json', text.encode())
  print(eval_table.of_results(results, e.interval), flush=True)
  return results


def pooled(results: dict[str, Any]) -> dict[str, float]:
  """Accuracy and mean length over the problems of all sets."""
  total = sum(r['problems'] for r in results.values())

  def mean(key):
    values = results.values()
    return sum(r['problems'] * r[key]['value'] for r in values) / total

  return dict(accuracy=mean('pass@1'), mean_tokens=mean('mean_tokens'))
