"""What goes into the sandbox and what comes out: Limits, Call, Job, Outcome."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Limits:
  """Attributes:
  seconds: wall clock, > 0.
  memory_bytes: address space of each process; resident memory of all.
  output_bytes: stdout, and each file written.
  processes: processes and threads at once.
  tmp_bytes: all files in /tmp together.
  """

  seconds: float = 10.0
  memory_bytes: int = 512 << 20
  output_bytes: int = 1 << 20
  processes: int = 16
  tmp_bytes: int = 64 << 20


@dataclasses.dataclass(frozen=True)
class Call:
  """A function of the program to be called.

  Attributes:
    function: its name.
    arguments: text (values.py) of [positional, {name: value}].
    expression: evaluated in the program instead, when not ''.
    setup: statements that come before it.
  """

  function: str = ''
  arguments: str = ''
  expression: str = ''
  setup: str = ''


@dataclasses.dataclass(frozen=True)
class Job:
  """One run of a program.

  Attributes:
    language: a key of languages.LANGUAGES.
    source: text of the program.
    stdin: what it reads.
    limits: of the run; compilation has COMPILE_LIMITS.
    call: a function to call once the source has run.
    files: more files in its working folder, by relative path.
    ask: names in a trusted program that `Pool.judge` answers.
  """

  language: str
  source: str
  stdin: str = ''
  limits: Limits = Limits()
  call: Call | None = None
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)
  ask: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Attributes:
  reason: '' when it ended by itself with exit code 0; else 'timeout',
    'memory', 'output_limit', 'crash', 'compile' or 'sandbox' (our side), with
    a detail after ': '.
  stdout, stderr: what it wrote; stderr its last 4000 characters.
  value: text of what a call returned, or of a judge: 'passed', 'failed'.
  exit_code: negative for a signal; None where it never ran.
  seconds, cpu_seconds: wall clock and processor time.
  rung: the walls it ran in.
  """

  reason: str
  stdout: str = ''
  stderr: str = ''
  value: str = ''
  exit_code: int | None = None
  seconds: float = 0.0
  cpu_seconds: float = 0.0
  rung: str = ''
