"""Contest problems: LiveCodeBench and Codeforces, as their files have them.

LiveCodeBench (arXiv 2403.07974), `code_generation_lite`: `question_content`,
`starter_code`, `metadata`, and tests as JSON, the private ones perhaps packed;
a test is of 'stdin', or 'functional': arguments in, a value out.  Outputs are
compared as text, token by token, which is stricter than its own harness: to
that, 1.0 is 1.

Codeforces, the fields of open-r1/codeforces: `description`, `input_format`,
`output_format`, `examples`, `official_tests`, `time_limit` in seconds,
`rating`; `generated_checker` where several outputs are right, a Python script
that is called with the names of three files, the input, the expected output
and the program's, and prints 1 (or 100) for a right one.  It runs in the
sandbox too.  A `language` is this project's: C++ where a row names none.
"""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

from k15.rewards.code import programs
from k15.rewards.code import rows as rows_lib
from k15.rewards.sandbox import languages
from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox.inside import values

_LONGEST_UNPACKED = 1 << 30  # bytes; packed zeros would fill any memory
# All that a pickle of one text is made of; none of these runs anything.
_TEXT_OPCODES = {
  'PROTO', 'FRAME', 'MEMOIZE', 'PUT', 'BINPUT', 'LONG_BINPUT', 'STOP',
}  # fmt: skip
_TEXTS = {'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'UNICODE'}
# Programs of the set may take these for given, as their starter code does.
_MODULES = (
  'bisect', 'collections', 'copy', 'functools', 'heapq', 'itertools', 'math',
  'operator', 'random', 're', 'string', 'typing',
)  # fmt: skip
_PREAMBLE = (
  ''.join(
    # Last what the others hide: pow of math and operator, compile of re.
    f'from {name} import *\n'
    for name in (*_MODULES, 'builtins')
  )
  + f'import sys, {", ".join(_MODULES)}\n'
)
_STDIN = (
  'Read from standard input and write to standard output. Answer with the whole'
  ' program in one ```{tag} block.'
)
_STARTER = (
  'Complete this program. Answer with the whole of it in one ```python block.'
  '\n\n```python\n{starter}\n```'
)
_CHECKER = """\
import contextlib, io, runpy, sys
def check(stdin, expected, stdout):
  files = dict(input=stdin, expected=expected, output=stdout)
  files['checker'] = {script!r}
  for name, text in files.items():
    with open(name, 'w') as file:
      file.write(text)
  sys.argv = ['checker', 'input', 'expected', 'output']
  said = io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
    runpy.run_path('checker', run_name='__main__')
  return said.getvalue().split()[-1:] in (['1'], ['1.0'], ['100'], ['100.0'])
"""


def livecodebench(row: rows_lib.Row) -> dict[str, Any]:
  """The fields of a `Problem`, of the domain 'code DIFFICULTY'.

  Raises:
    ValueError: a field is missing, or not as it has to be.
  """
  statement = rows_lib.text(row, 'question_content').strip()
  starter = rows_lib.optional_text(row, 'starter_code').rstrip()
  name = _object(row, 'metadata').get('func_name', '')
  cases = [
    *_cases(rows_lib.text(row, 'public_test_cases'), 'public_test_cases'),
    *_private_cases(rows_lib.text(row, 'private_test_cases')),
  ]
  tests = [_livecodebench_test(case, name, starter) for case in cases]
  if not tests:
    raise ValueError('no tests')
  task = _STARTER.format(starter=starter) if starter else ''
  difficulty = rows_lib.optional_text(row, 'difficulty')
  return dict(
    id=rows_lib.text(row, 'question_id'),
    prompt=f'{statement}\n\n{task}' if task else ask(statement),
    answer=programs.to_text(tests, preamble=_PREAMBLE),
    domain=f'code {difficulty}'.rstrip(),
  )


def _livecodebench_test(case, name, starter):
  kind = case.get('testtype')
  given, expected = (rows_lib.text(case, f) for f in ('input', 'output'))
  if kind == 'stdin':
    return programs.StdinTest(given, expected)
  if kind != 'functional':
    raise ValueError(f"testtype {kind!r} is neither 'stdin' nor 'functional'")
  if not isinstance(name, str) or not name.isidentifier():
    raise ValueError(f"func_name {name!r} in field 'metadata' is no name")
  arguments = [_json(line, 'a test') for line in given.split('\n') if line]
  function = f'Solution().{name}' if 'class Solution' in starter else name
  call = f'{function}({", ".join(map(repr, arguments))})'
  # A tuple is as good as a list, as its own harness has it.
  plain = f'(lambda v: list(v) if isinstance(v, tuple) else v)({call})'
  return programs.CallTest(
    pool_lib.Call(expression=plain),
    values.encode(_json(expected, 'a test')),
    by_value=True,
  )


def _private_cases(text):
  """Tests as JSON, or as JSON in a text in a pickle, zlib and base64."""
  if text.lstrip().startswith('['):
    return _cases(text, 'private_test_cases')
  try:
    packed = zlib.decompressobj()
    data = packed.decompress(base64.b64decode(text), _LONGEST_UNPACKED)
  except (binascii.Error, zlib.error, ValueError) as error:
    raise ValueError(f'private_test_cases: not readable: {error}') from None
  if not packed.eof:
    raise ValueError(
      f'private_test_cases: torn, or more than {_LONGEST_UNPACKED} bytes'
    )
  is_json = data.lstrip().startswith(b'[')
  text = data.decode() if is_json else pickled_text(data)
  return _cases(text, 'private_test_cases')


def pickled_text(data: bytes) -> str:
  """The one text that a pickle holds, without unpickling.

  To unpickle is to run what a pickle says; so its instructions are read, and
  any that does more than hold a text is refused.

  Raises:
    ValueError: names the instruction, or says that it is no pickle.
  """
  texts = []
  try:
    for opcode, argument, _ in pickletools.genops(data):
      if opcode.name in _TEXTS:
        texts.append(argument)
      elif opcode.name not in _TEXT_OPCODES:
        raise ValueError(
          f'the instruction {opcode.name}; a pickle is never unpickled here,'
          ' for that could run anything: only one that holds a single text is'
          ' read'
        )
    if len(texts) != 1:
      raise ValueError(f'{len(texts)} texts, where one is wanted')
  except ValueError as error:
    raise ValueError(f'private_test_cases: a pickle with {error}') from None
  return texts[0]


def codeforces(row: rows_lib.Row) -> dict[str, Any]:
  """The fields of a `Problem`; its rating is in its reference.

  Raises:
    ValueError: a field is missing, or the problem cannot be judged here:
      interactive, of files, or without tests.
  """
  if row.get('interaction_format'):
    raise ValueError('an interactive problem, which cannot be judged here')
  if (row.get('input_mode') or 'stdio') != 'stdio':
    raise ValueError(f'input_mode {row["input_mode"]!r}, and only stdio is run')
  language = rows_lib.optional_text(row, 'language') or 'cpp'
  if language not in languages.LANGUAGES:
    known = ', '.join(languages.LANGUAGES)
    raise ValueError(f'language {language!r} is not one of {known}')
  script = rows_lib.optional_text(row, 'generated_checker')
  checker = _CHECKER.format(script=script) if script else ''
  cases = [*_pairs(row, 'examples'), *_pairs(row, 'official_tests')]
  if not cases:
    raise ValueError("no tests in 'examples' or 'official_tests'")
  rating = row.get('rating')
  return dict(
    id=rows_lib.text(row, 'id'),
    prompt=_statement(row, language),
    answer=programs.to_text(
      [programs.StdinTest(*case, checker=checker) for case in cases],
      language,
      seconds=float(row.get('time_limit') or 0.0),
      rating=None if rating is None else float(rating),
    ),
    domain='code',
  )


def _statement(row, language):
  """A problem as a contestant sees it."""
  title = rows_lib.optional_text(row, 'title')
  parts = [title, rows_lib.text(row, 'description')]
  for head, field in (('Input', 'input_format'), ('Output', 'output_format')):
    if text := rows_lib.optional_text(row, field):
      parts.append(f'{head}\n{text}')
  for given, expected in _pairs(row, 'examples'):
    parts.append(
      f'Example\n```input\n{given.strip()}\n```\n'
      f'```output\n{expected.strip()}\n```'
    )
  if note := rows_lib.optional_text(row, 'note'):
    parts.append(f'Note\n{note}')
  text = '\n\n'.join(part.strip() for part in parts if part.strip())
  return ask(text, language)


def ask(statement: str, language: str = 'python') -> str:
  """The prompt of a problem whose programs read standard input."""
  return f'{statement.strip()}\n\n{_STDIN.format(tag=language)}'


def _pairs(row, field):
  """Inputs and outputs of a list of tests; [] where it is missing."""
  cases = _objects(row.get(field) or [], field)
  return [
    (rows_lib.text(c, 'input'), rows_lib.text(c, 'output')) for c in cases
  ]


def _cases(text, field):
  return _objects(_json(text, field), field)


def _objects(cases, field):
  is_list = isinstance(cases, list)
  if not is_list or not all(isinstance(case, dict) for case in cases):
    raise ValueError(f'{field}: not a list of tests')
  return cases


def _object(row, field):
  found = _json(rows_lib.optional_text(row, field) or '{}', field)
  if not isinstance(found, dict):
    raise ValueError(f'{field}: not an object')
  return found


def _json(text, where):
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{where}: not JSON: {error}') from None
