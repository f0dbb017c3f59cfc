"""The languages that the sandbox runs, as data.

To add one, write one more entry: the file its source goes to, how it is
compiled (once per program) and how it is run (once per test).
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Language:
  """Attributes:
  source_name: file that the source is written to, in the working folder.
  compile: command, absolute; () where there is nothing to compile.
  artifact: file that the compiler leaves, what a run needs.
  run: command; () runs inside the fork server, without starting anything.
  has_calls: whether functions can be called with values, in and out.
  """

  source_name: str
  compile: tuple[str, ...] = ()
  artifact: str = ''
  run: tuple[str, ...] = ()
  has_calls: bool = False


LANGUAGES = {
  'python': Language('main.py', has_calls=True),
  'cpp': Language(
    'main.cpp',
    compile=(
      '/usr/bin/g++', '-O2', '-std=c++17', '-pipe', '-o', 'main', 'main.cpp'
    ),
    artifact='main',
    run=('./main',),
  ),
  'c': Language(
    'main.c',
    compile=('/usr/bin/gcc', '-O2', '-pipe', '-o', 'main', 'main.c', '-lm'),
    artifact='main',
    run=('./main',),
  ),
  'sh': Language('main.sh', run=('/bin/sh', 'main.sh')),
}  # fmt: skip
