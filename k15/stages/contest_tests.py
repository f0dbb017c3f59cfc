"""Test cases for contest problems that have none: Kimi k1.5, section 2.3.5.

  python -m k15.stages.contest_tests --config=experiments/test_cases.py \\
      --workdir=runs/tests --problems=contest.jsonl \\
      --config.checkpoint=DIRECTORY

The checkpoint writes the generators, or the OpenAI-compatible server that
`long_cot_examples.server` names.  What a row of the file is, and what the
workdir then holds, `rewards.code.contest_files` says; the same command goes on
where it was cut off.
"""

import pathlib
import threading
from collections.abc import Sequence
from typing import Any

from absl import app
from absl import flags
from absl import logging
from ml_collections import config_flags

from k15.checkpoints import models
from k15.config import command_line
from k15.data import evaluation_sets
from k15.data_types import Problem
from k15.rewards.code import contest_files
from k15.rewards.code import test_cases
from k15.runtime import context as context_lib
from k15.runtime import failures
from k15.runtime import preparation
from k15.stages import answered_sets
from k15.stages import long_cot_asking
from k15.stages import long_cot_samples

_RULES = test_cases.Rules()  # The paper's numbers.
_ONCE = long_cot_asking.Asking(samples=1, most_per_problem=1, call_size=1)


def generators(
  context: context_lib.Context,
  problems: Sequence[test_cases.ContestProblem],
  cases: int,
) -> dict[str, str]:
  """What a model writes for each problem without a special judge, by id.

  Raises:
    ValueError: there is neither a checkpoint nor a server, or a prompt is too
      long for the rollout.
    writers.ServerError: the server does not answer.
  """
  config, e = context.config, context.config.long_cot_examples
  if not config.checkpoint and not e.server:
    raise ValueError(
      'no writer of generators: name a checkpoint, or long_cot_examples.server'
    )
  model = models.directory_of(config.checkpoint) if config.checkpoint else None
  asked = [
    Problem(p.id, test_cases.make_prompt(p.statement, cases), '')
    for p in problems
    if not p.needs_special_judge
  ]
  task, name = context.task, 'generators'
  if not e.server:
    found = evaluation_sets.EvalSet(name, '', tuple(asked))
    evaluation_sets.check_lengths(config, task.encode_prompt, [found])
  facts = long_cot_samples.facts_of(config, e, model)
  asks = long_cot_asking.asks_of(
    0, asked, 0, _ONCE, task, facts, lambda problem: ''
  )
  journal = answered_sets.written(
    context,
    model,
    {name: asks},
    facts,
    context.workdir,
    name,
    long_cot_samples.writer(context, e, 'long_cot', model),
  )
  return {ask.problem.id: journal.response(ask).text for ask in asks}


def make(
  workdir: pathlib.Path,
  config: Any,
  path: str,
  language: str = 'python',
  rules: test_cases.Rules = _RULES,
) -> str:
  """Test cases for the problems of a file; returns the funnel.

  Raises:
    ValueError, OSError: nothing was begun; says why.
  """
  problems, r = contest_files.read(path), config.reward
  try:
    pool = test_cases.make_pool(r.sandbox_workers, lowest=r.sandbox_lowest)
  except ModuleNotFoundError as error:
    raise ValueError(str(error)) from None
  with pool:
    context = context_lib.make(config, workdir, threading.Event())
    texts = generators(context, problems, rules.cases)
    return contest_files.select(
      problems, texts, pool, workdir, language, rules, config.seed
    )


def define_flags() -> None:
  """Not at import: other commands have flags of the same names."""
  config_flags.DEFINE_config_file('config', None, 'Experiment file.')
  flags.DEFINE_string('workdir', None, 'Folder of what is made.')
  flags.DEFINE_string('problems', None, 'JSON of contest problems.')
  flags.DEFINE_string('language', 'python', 'Programs are asked for.')


def main(argv: list[str]) -> None:
  del argv
  options = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  try:
    workdir, config = preparation.prepare(options.workdir, options.config)
    print(make(workdir, config, options.problems or '', options.language))
  except (ValueError, OSError, *failures.SENTENCES) as error:
    command_line.exit_with(str(error))


if __name__ == '__main__':
  define_flags()
  app.run(main, flags_parser=command_line.parse_flags)
