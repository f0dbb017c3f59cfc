"""Sets of problems to evaluate on, each with its prompt and its reward.

The format of a file is known by its fields: MATH-500's, GSM8K's, AIME's,
GPQA's, HumanEval's, MBPP's, MultiPL-E's, LiveCodeBench's, Codeforces', with
pictures MathVista's, MMMU's, MATH-Vision's, Geometry3K's, or that of the user's
own problems, as `config.task` names its fields.
"""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from k15 import streams
from k15.config import routes
from k15.data import problems as problems_lib
from k15.data import rows
from k15.data_types import Problem
from k15.rewards.code import contests
from k15.rewards.code import datasets
from k15.rewards.code import multipl_e
from k15.rewards.code import programs
from k15.rewards.sandbox import languages
from k15.vision import datasets as picture_sets
from k15.vision import references

_MATH = (
  '{prompt}\n\nReason step by step, and put the final answer in \\boxed{}.'
)
_HUMANEVAL = (
  'Complete this function. Answer with the whole program in one ```python'
  ' block.\n\n```python\n{prompt}\n```'
)
_MBPP = '{prompt} Answer with the whole program in one ```python block.'
_GPQA = '{prompt}\n\nReason step by step, and put the letter in \\boxed{}.'
_PICTURE = (
  '{prompt}\n\nReason step by step, and put the final answer, or the letter of'
  ' the option, in \\boxed{}.'
)
_OPTIONS = (
  'Correct Answer', 'Incorrect Answer 1', 'Incorrect Answer 2',
  'Incorrect Answer 3',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Format:
  """Attributes:
  fields: those that tell it from the others.
  prompts: those of which one has the problem; () is as `config.task` says.
  reward: what judges its responses; '' is by domain, as in training.
  template: of its prompts, in which {prompt} stands for the problem.
  """

  fields: tuple[str, ...]
  prompts: tuple[str, ...]
  reward: str
  template: str


# The last takes what is none of the others.
FORMATS = {
  'livecodebench': Format(
    ('question_content', 'public_test_cases', 'private_test_cases'),
    ('question_content',), 'code_tests', '{prompt}',
  ),
  'codeforces': Format(
    ('description', 'official_tests'), ('description',), 'code_tests',
    '{prompt}',
  ),
  'multipl_e': Format(
    ('name', 'language', 'prompt', 'tests', 'stop_tokens'), ('prompt',),
    'code_tests', '{prompt}',
  ),
  'gpqa': Format(
    ('Question', *_OPTIONS), ('Question',), 'math_answers', _GPQA
  ),
  'aime': Format(('Problem', 'Answer'), ('Problem',), 'math_answers', _MATH),
  'humaneval': Format(
    ('entry_point', 'prompt', 'test'), ('prompt',), 'code_tests', _HUMANEVAL
  ),
  'mbpp': Format(
    ('task_id', 'code', 'test_list'), ('text', 'prompt'), 'code_tests', _MBPP
  ),
  # Those with pictures have fields of others too, and come first.
  'mathvista': Format(
    ('pid', 'question_type', 'answer_type'), ('question',), 'choice', _PICTURE
  ),
  'mmmu': Format(
    ('options', 'question_type', 'image_1'), ('question',), 'choice', _PICTURE
  ),
  'mathvision': Format(
    ('options', 'decoded_image', 'level'), ('question',), 'choice', _PICTURE
  ),
  'geometry3k': Format(
    ('images', 'problem', 'answer'), ('problem',), 'math_answers', _MATH
  ),
  'gsm8k': Format(('question', 'answer'), ('question',), 'math_answers', _MATH),
  'math': Format(('problem',), ('problem',), 'math_answers', _MATH),
  'own': Format((), (), '', '{prompt}'),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EvalSet:
  """Attributes:
  name: of the set.
  reward: a name of `routes.REWARDS` or `routes.FOR_EVALUATION`; '' is by
    domain, as in training.
  problems: their prompts are what the template makes of them.
  absent: languages of which this machine has no interpreter; their problems
    are left out.
  """

  name: str
  reward: str
  problems: tuple[Problem, ...]
  absent: tuple[str, ...] = ()


def read(
  config: Any, is_chat: bool, keep: references.Keep = references.forget
) -> list[EvalSet]:
  """The sets of `config.evaluation`, in its order.

  Args:
    config: the whole.
    is_chat: whether prompts become turns of a chat; otherwise a line break
      ends those of a known format.
    keep: gets the pictures.

  Raises:
    ValueError: a malformed file; says which and where.
  """
  e = config.evaluation
  rewards = routes.named(e.rewards)
  templates = routes.named(e.templates)
  sets = []
  for name, path in routes.named(e.sets).items():
    kind = format_of(path)
    if kind != 'own':
      print(f'evaluation.sets: {path} is read as {kind}', flush=True)
    end = '' if is_chat else '\n'
    end = config.task.prompt_suffix if kind == 'own' else end
    template = FORMATS[kind].template + end
    template = templates.get(name, template)
    problems = _read_problems(config, path, kind, keep)
    unknown = sum(not problem.answer for problem in problems)
    if unknown:
      raise ValueError(f'{path}: {unknown} problems have no answer')
    # Services have interpreters of their own.
    absent = () if config.reward.services else _absent(problems, kind)
    asked = [p for p in problems if p.domain not in absent]
    if problems and not asked:
      raise ValueError(f'{path}: no interpreter here of any {list(absent)}')
    sets.append(
      EvalSet(
        name=name,
        reward=rewards.get(name, FORMATS[kind].reward),
        problems=tuple(
          dataclasses.replace(p, prompt=template.replace('{prompt}', p.prompt))
          for p in asked[: e.problems or None]
        ),
        absent=tuple(domain.removeprefix('code ') for domain in absent),
      )
    )
  return sets


def _absent(problems, kind):
  """Domains of MultiPL-E whose language cannot be run here."""
  if kind != 'multipl_e':
    return ()
  domains = dict.fromkeys(problem.domain for problem in problems)
  rows_of = languages.LANGUAGES
  return tuple(
    d for d in domains if languages.missing(rows_of[d.removeprefix('code ')])
  )


def check_lengths(
  config: Any, encode: Callable[..., np.ndarray], sets: Sequence[EvalSet]
) -> None:
  """Refuses prompts that are too long: a set is asked whole or not at all.

  `encode` makes tokens of a text and its pictures.

  Raises:
    ValueError: how many, and how long they are.
  """
  most = config.rollout.max_prompt_length
  for found in sets:
    lengths = [len(encode(p.prompt, p.images)) for p in found.problems]
    longer = sum(length > most for length in lengths)
    if longer:
      raise ValueError(
        f'{found.name}: {longer} of {len(lengths)} prompts are longer than'
        f' rollout.max_prompt_length = {most}: up to {max(lengths)} tokens'
      )


def format_of(path: str) -> str:
  """Name of the format, from the fields of the first row."""
  row = rows.first_row(path)
  for name, kind in FORMATS.items():
    if row.keys() >= set(kind.fields):
      return name
  raise AssertionError('the last format has no fields of its own')


def kept_out(config: Any) -> dict[str, list[Problem]]:
  """What no stage may train on, by the file that has it, whole.

  These are the sets of `config.evaluation`, read as the evaluation does but
  for their templates and their tests, and `config.curation.evaluation_paths`.

  Raises:
    ValueError: a malformed file; says which and where.
  """
  asked_for = config.task.prompt_field
  sets = routes.named(config.evaluation.sets)
  kinds = {path: format_of(path) for path in sets.values()}
  for path in config.curation.evaluation_paths:
    is_own = asked_for in rows.first_row(path)
    # A file that is evaluated too is read as the evaluation reads it: two ways
    # of reading could make two texts of one problem, and one would not be
    # found.
    kinds.setdefault(path, 'own' if is_own else format_of(path))
  return {path: _kept_out(config, path, kind) for path, kind in kinds.items()}


def _kept_out(config, path, kind) -> list[Problem]:
  if kind in picture_sets.READERS:
    return _read_pictured(config, path, kind)
  if FORMATS[kind].reward == 'code_tests' or kind == 'gpqa':
    # Texts alone are compared; the tests of a set need not even be readable
    # here.
    return _prompts(path, FORMATS[kind].prompts)
  return _read_texts(config, path, kind, may_lack_answers=True)


def _prompts(path, fields) -> list[Problem]:
  """Problems without their tests."""
  problems = []
  for number, where, row in rows.read_rows(path):
    found = [row[f] for f in fields if isinstance(row.get(f), str)]
    if not found:
      raise ValueError(f'{where}: no text in any of the fields {list(fields)}')
    problems.append(
      Problem(f'{pathlib.Path(path).name}:{number}', found[0], '')
    )
  return problems


def _read_pictured(config, path, kind, keep=references.forget) -> list[Problem]:
  folder = pathlib.Path(path).parent
  return [
    picture_sets.read_row(kind, row, where, folder, config.seed, keep)
    for _, where, row in rows.read_rows(path)
  ]


def _read_problems(config, path, kind, keep) -> list[Problem]:
  if kind in picture_sets.READERS:
    return _read_pictured(config, path, kind, keep)
  makers = {
    'livecodebench': contests.livecodebench,
    'codeforces': contests.codeforces,
    'multipl_e': multipl_e.record_of,
    'gpqa': functools.partial(gpqa, seed=config.seed),
  }
  if kind in makers:
    return _read_records(path, makers[kind])
  if kind == 'humaneval':
    problems = datasets.load_humaneval(pathlib.Path(path))
    return [
      Problem(p.id, p.prompt.rstrip(), programs.to_text(p.tests), 'code')
      for p in problems
    ]
  if kind == 'mbpp':
    problems = datasets.load_mbpp(pathlib.Path(path))
    records = [datasets.to_record(p) for p in problems]
    names = ('id', 'prompt', 'answer', 'domain')
    return [Problem(**{name: r[name] for name in names}) for r in records]
  return _read_texts(config, path, kind, keep=keep)


def _read_records(path, make) -> list[Problem]:
  problems = []
  for _, where, row in rows.read_rows(path):
    try:
      problems.append(Problem(**make(row)))
    except ValueError as error:
      raise ValueError(f'{where}: {error}') from None
  return problems


def gpqa(row: dict[str, Any], seed: int) -> dict[str, Any]:
  """The fields of a `Problem` of GPQA: four options, whose letters are answers.

  Their order is drawn for the question, whatever stands beside it in the file,
  so that two models see the same one.

  Args:
    seed: of the run.

  Raises:
    ValueError: a field is missing.
  """
  texts = [row[field] for field in ('Question', *_OPTIONS)]
  if not all(isinstance(text, str) and text.strip() for text in texts):
    raise ValueError('a question or an option is empty')
  question, *options = (text.strip() for text in texts)
  name = int.from_bytes(hashlib.sha256(question.encode()).digest()[:4])
  order = streams.rng(seed, 'options', name).permutation(len(options))
  lines = [f'{"ABCD"[i]}. {options[k]}' for i, k in enumerate(order)]
  return dict(
    id=str(row.get('Record ID') or f'{name:08x}'),
    prompt='\n'.join([question, '', *lines]),
    answer='ABCD'[list(order).index(0)],
    domain=str(row.get('High-level domain') or ''),
  )


def _read_texts(
  config, path, kind, may_lack_answers=False, keep=references.forget
) -> list[Problem]:
  """Problems whose answers are texts."""
  if kind == 'own':
    fields, answer_of = problems_lib.Fields.of(config.task), None
  else:
    (prompt,) = FORMATS[kind].prompts
    fields = problems_lib.Fields(
      prompt, response='', difficulty='', answer_marker='####'
    )
    answer_of = None
  if kind == 'aime':
    fields = dataclasses.replace(fields, answer='Answer')
  if kind == 'math':
    fields = dataclasses.replace(fields, domain='subject')
    answer_of = functools.partial(_math_answer, may_lack_answers)
  examples = problems_lib.read_problems(
    path, fields, may_lack_answers, answer_of, keep
  )
  return [example.problem for example in examples]


def _math_answer(may_be_missing, row, where):
  answer = problems_lib.boxed_answer(row, where)
  if not answer and not may_be_missing:
    raise ValueError(f"{where}: no 'answer', and no box in a 'solution'")
  return answer
