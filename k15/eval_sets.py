"""Sets of problems to evaluate on, each with its prompt and its reward.

The format of a file is known by its fields: MATH-500's, GSM8K's, HumanEval's,
MBPP's, or that of the user's own problems, as `config.task` names its fields.
"""

import dataclasses
import gzip
import itertools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k15 import data
from k15.data_types import Problem
from k15.rewards import code_datasets
from k15.rewards import code_tests
from k15.rewards import routes as routes_lib

_MATH = (
  '{prompt}\n\nReason step by step, and put the final answer in \\boxed{}.'
)
_HUMANEVAL = (
  'Complete this function. Answer with the whole program in one ```python'
  ' block.\n\n```python\n{prompt}\n```'
)
_MBPP = '{prompt} Answer with the whole program in one ```python block.'


@dataclasses.dataclass(frozen=True)
class Format:
  """Attributes:
  fields: those that tell it from the others.
  reward: what judges its responses; '' is by domain, as in training.
  template: of its prompts, in which {prompt} stands for the problem.
  """

  fields: tuple[str, ...]
  reward: str
  template: str


# The last takes what is none of the others.
FORMATS = {
  'humaneval': Format(
    ('entry_point', 'prompt', 'test'), 'code_tests', _HUMANEVAL
  ),
  'mbpp': Format(('task_id', 'code', 'test_list'), 'code_tests', _MBPP),
  'gsm8k': Format(('question', 'answer'), 'math_answers', _MATH),
  'math': Format(('problem', 'answer'), 'math_answers', _MATH),
  'own': Format((), '', '{prompt}'),
}


@dataclasses.dataclass(frozen=True)
class EvalSet:
  """Attributes:
  name: of the set.
  reward: a name of `routes.REWARDS`; '' is by domain, as in training.
  problems: their prompts are what the template makes of them.
  """

  name: str
  reward: str
  problems: tuple[Problem, ...]


def read(config: Any, is_chat: bool) -> list[EvalSet]:
  """The sets of `config.evaluation`, in its order.

  Args:
    config: the whole.
    is_chat: whether prompts become turns of a chat; otherwise a line break
      ends those of a known format.

  Raises:
    ValueError: a malformed file; says which and where.
  """
  e = config.evaluation
  rewards = routes_lib.named(e.rewards)
  templates = routes_lib.named(e.templates)
  sets = []
  for name, path in routes_lib.named(e.sets).items():
    kind = format_of(path)
    end = '' if is_chat else '\n'
    end = config.task.prompt_suffix if kind == 'own' else end
    template = FORMATS[kind].template + end
    template = templates.get(name, template)
    problems = _read_problems(config, path, kind)[: e.problems or None]
    sets.append(
      EvalSet(
        name=name,
        reward=rewards.get(name, FORMATS[kind].reward),
        problems=tuple(
          dataclasses.replace(p, prompt=template.replace('{prompt}', p.prompt))
          for p in problems
        ),
      )
    )
  return sets


def check_lengths(
  config: Any, encode: Callable[[str], np.ndarray], sets: Sequence[EvalSet]
) -> None:
  """Refuses prompts that are too long: a set is asked whole or not at all.

  Raises:
    ValueError: how many, and how long they are.
  """
  most = config.rollout.max_prompt_length
  for found in sets:
    lengths = [len(encode(problem.prompt)) for problem in found.problems]
    longer = sum(length > most for length in lengths)
    if longer:
      raise ValueError(
        f'{found.name}: {longer} of {len(lengths)} prompts are longer than'
        f' rollout.max_prompt_length = {most}: up to {max(lengths)} tokens'
      )


def format_of(path: str) -> str:
  """Name of the format, from the fields of the first row."""
  row = _first_row(pathlib.Path(path))
  for name, kind in FORMATS.items():
    if row.keys() >= set(kind.fields):
      return name
  raise AssertionError('the last format has no fields of its own')


def _read_problems(config, path, kind) -> list[Problem]:
  if kind == 'humaneval':
    problems = code_datasets.load_humaneval(pathlib.Path(path))
    return [
      Problem(p.id, p.prompt.rstrip(), code_tests.to_text(p.tests), 'code')
      for p in problems
    ]
  if kind == 'mbpp':
    problems = code_datasets.load_mbpp(pathlib.Path(path))
    records = [code_datasets.to_record(p) for p in problems]
    names = ('id', 'prompt', 'answer', 'domain')
    return [Problem(**{name: r[name] for name in names}) for r in records]
  t, own_only = config.task, dict(response_field='', difficulty_field='')
  fields = dict(
    math=dict(prompt_field='problem', domain_field='subject', **own_only),
    gsm8k=dict(prompt_field='question', answer_marker='####', **own_only),
    own=dict(
      prompt_field=t.prompt_field,
      answer_field=t.answer_field,
      response_field=t.response_field,
      answer_marker=t.answer_marker,
      domain_field=t.domain_field,
      difficulty_field=t.difficulty_field,
      max_difficulty=t.hardest,
    ),
  )[kind]
  return [example.problem for example in data.read_problems(path, **fields)]


def _first_row(path) -> Mapping[str, Any]:
  """The first row of a file, {} where there is none that can be read."""
  if path.suffix == '.gz':
    with gzip.open(path, 'rt') as file:
      return json.loads(next(itertools.chain(file, ['{}'])))
  return data.first_row(str(path))
