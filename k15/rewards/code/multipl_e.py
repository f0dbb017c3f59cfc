"""HumanEval in the paper's eight languages, as MultiPL-E translates it.

Kimi k1.5, 3.1 and appendix C, reports HumanEval-Mul: Python, Java, C++, C#,
JavaScript, TypeScript, PHP and Bash.  A row of MultiPL-E (arXiv 2208.08227) has
`name`, `language`, `prompt` (a signature and its comment), `tests` and
`stop_tokens`.  Its tests go on where a completion stops; here a model answers a
chat with a whole program, so that the brace by which they close its function
comes off, and the program stays as it is.
"""

import dataclasses
import re
from typing import Any

from k15.rewards.code import programs
from k15.rewards.code import rows as rows_lib
from k15.rewards.sandbox import languages


@dataclasses.dataclass(frozen=True)
class Dialect:
  """A language as MultiPL-E writes it.

  Attributes:
    language: a key of languages.LANGUAGES.
    title: what a prompt calls it.
    done: a statement that prints `programs.DONE`.
    braces: at the end of the tests, in front of which it stands.
    before: text in front of a program.
    wrap: what takes the place of the brace that closes the function.
  drop: lines that begin so are taken out: of a library, in whose place stands
    `library`, or of what would end the program.
  """

  language: str
  title: str
  done: str
  braces: int = 0
  before: str = ''
  wrap: str = ''
  drop: str = ''
  library: str = ''


# What MultiPL-E's Java has of org.javatuples, which machines rarely do.
_TUPLES = ('Unit', 'Pair', 'Triplet', 'Quartet', 'Quintet')


def _tuple(name, size):
  letters = 'ABCDE'[:size]
  kinds = f'<{", ".join(letters)}>'
  values = ', '.join(f'{letter} value{i}' for i, letter in enumerate(letters))
  names = ', '.join(f'value{i}' for i in range(size))
  getters = ' '.join(
    f'public {letter} getValue{i}() {{ return value{i}; }}'
    for i, letter in enumerate(letters)
  )
  return (
    f'record {name}{kinds}({values}) {{ {getters} public static {kinds}'
    f' {name}{kinds} with({values}) {{ return new {name}<>({names}); }} }}'
  )


# A class of its own inherits the function, and so leaves the program whole,
# with whatever main function it has.
_TESTS = f'class {languages.TESTS_CLASS}'
DIALECTS = {
  'py': Dialect('python', 'Python', f'print("\\n{programs.DONE}")'),
  'cpp': Dialect(
    'cpp', 'C++', f'puts("\\n{programs.DONE}");', 1,
    before='#include <cstdio>\n#define main own_main',
    wrap='#undef main',
  ),
  'java': Dialect(
    'java', 'Java', f'System.out.println("\\n{programs.DONE}");', 2,
    wrap=f'{_TESTS} extends {programs.CLASS} {{',
    drop='import org.javatuples.',
    library='\n'.join(_tuple(name, i) for i, name in enumerate(_TUPLES, 1)),
  ),
  'cs': Dialect(
    'csharp', 'C#', f'Console.WriteLine("\\n{programs.DONE}");', 2,
    wrap=f'{_TESTS} : {programs.CLASS} {{',
  ),
  'js': Dialect(
    'javascript', 'JavaScript', f'console.log("\\n{programs.DONE}");'
  ),
  'ts': Dialect(
    'typescript', 'TypeScript', f'console.log("\\n{programs.DONE}");'
  ),
  # Behind a closing tag the tests would be text.
  'php': Dialect(
    'php', 'PHP', f'echo "\\n{programs.DONE}\\n";', drop='?>'
  ),
  'sh': Dialect('bash', 'Bash', f'echo; echo {programs.DONE}'),
}  # fmt: skip
# Lines of a prompt that a program needs, and models leave out.
_HEAD = re.compile(
  r'(#include|using |import |from \w+ import |<\?php|declare )'
)
_CLOSING = re.compile(r'\s*\}')
_PROMPT = (
  'Complete this {title} function. Answer with the whole program in one'
  ' ```{tag} block.\n\n```{tag}\n{prompt}\n```'
)


def record_of(row: rows_lib.Row) -> dict[str, Any]:
  """The fields of a `Problem`, of the domain 'code LANGUAGE'.

  Raises:
    ValueError: a field is missing, or a language that is none of `DIALECTS`.
  """
  prompt, tag = (rows_lib.text(row, field) for field in ('prompt', 'language'))
  if tag not in DIALECTS:
    raise ValueError(f'language {tag!r} is not one of {", ".join(DIALECTS)}')
  dialect = DIALECTS[tag]
  test = programs.UnitTest(
    head=tuple(line for line in prompt.split('\n') if _HEAD.match(line)),
    before=dialect.before,
    after=_tests(rows_lib.text(row, 'tests'), dialect),
    drop=dialect.drop,
  )
  return dict(
    id=rows_lib.text(row, 'name'),
    prompt=_PROMPT.format(
      title=dialect.title, tag=dialect.language, prompt=prompt.rstrip()
    ),
    answer=programs.to_text([test], dialect.language),
    domain=f'code {dialect.language}',
  )


def _tests(text, dialect):
  """Tests that stand behind a whole program and say when they are over."""
  if closing := _CLOSING.match(text):
    text = text[closing.end() :]
  place = len(text)
  for _ in range(dialect.braces):
    place = text.rfind('}', 0, place)
    if place < 0:
      raise ValueError(f"'tests' end without {dialect.braces} braces")
  parts = [dialect.wrap, text[:place], dialect.done, text[place:]]
  return '\n'.join([*parts, dialect.library])
