"""Programs in the sandbox read, write and end as on a command line.

Each of these prints 6 from '5' when a shell runs it with pipes around it.
"""

import json

import pytest

from benchmarks.quality import public_data
from k15.rewards.code import programs
from k15.rewards.sandbox import pool as pool_lib

PUBLIC = public_data.folder() / 'public_cases'

_CYCLE = 'def g(): pass\n'  # Puts what a module holds into a cycle.
_DEL = 'class A:\n  def __del__(self): print(total)\n'
ENDS = {
  'streams that know their mode and name': (
    'import sys\nwrites = "r" not in sys.stdout.mode\n'
    'reads = sys.stdin.mode == "r" and sys.stdin.name == "<stdin>"\n'
    'print(6 if reads and writes else 5)'
  ),
  'exit handler': 'import atexit\natexit.register(print, 6)',
  'exit handler that writes': (
    'import atexit, io, os, sys\nsys.stdout = text = io.StringIO()\n'
    'atexit.register(lambda: os.write(1, text.getvalue().encode()))\nprint(6)'
  ),
  'exit handler after exit': (
    'import atexit, sys\natexit.register(print, 6)\nsys.exit(0)'
  ),
  'unflushed descriptor': (
    f'{_CYCLE}import os\nf = os.fdopen(1, "w")\nf.write("6")'
  ),
  'unflushed duplicate': 'import os\nf = open(os.dup(1), "w")\nf.write("6")',
  'unflushed binary': (
    f'{_CYCLE}f = open(1, "wb", closefd=False)\nf.write(b"6")'
  ),
  'stdout of its own': (
    'import os, sys\nsys.stdout = os.fdopen(1, "w")\nprint(6)'
  ),
  'the first stdout': (
    'import io, sys\nsys.stdout = io.StringIO()\nsys.__stdout__.write("6")'
  ),
  'both stdouts replaced': (
    'import io, sys\nold = sys.stdout\nsys.stdout = sys.__stdout__ ='
    ' io.StringIO()\nold.write("6")'
  ),
  'stdout that keeps a file': (
    'import os, sys\nf = os.fdopen(os.dup(1), "w")\nclass Out:\n'
    '  def write(self, text): f.write(text)\nsys.stdout = Out()\nprint(6)'
  ),
  'no stdout': 'import sys\nprint(6)\nsys.stdout = None',
  'closed stdout': 'import sys\nprint(6)\nsys.stdout.close()',
  'detached stdout': 'import sys\nsys.stdout.detach().write(b"6")',
  'finalizer': f'total = 6\n{_DEL}a = A()',
  'finalizer in a cycle': f'{_DEL}total = 6\na = A()\na.itself = a',
  'finalizer that writes to a file': (
    'import os\nf = os.fdopen(1, "w")\nclass A:\n'
    '  def __del__(self): f.write("6")\na = A()'
  ),
  'weak finalizer': (
    'import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 6)'
  ),
  'file held by another module': (
    'import json, os\njson.f = os.fdopen(1, "w")\njson.f.write("6")'
  ),
  'generator that is never ended': (
    'def g():\n  try: yield\n  finally: print(6)\nx = g()\nnext(x)'
  ),
  'thread': (
    'import threading, time\nthreading.Thread(target=lambda: ('
    'time.sleep(0.05), print(6))).start()'
  ),
  'executor': (
    'import concurrent.futures as futures\n'
    'futures.ThreadPoolExecutor().submit(print, 6)'
  ),
  'C library': 'import ctypes\nctypes.CDLL(None).printf(b"6")',
}  # fmt: skip
READS = {
  'open': 'print(int(open("/dev/stdin").read()) + 1)',
  'system call': (
    'import os\nprint(int(os.read(os.open("/dev/stdin", 0), 9)) + 1)'
  ),
  'by descriptor': 'print(int(open("/proc/self/fd/0").read()) + 1)',
  'fileinput': (
    'import fileinput\nprint(sum(map(int, fileinput.input("/dev/stdin"))) + 1)'
  ),
  'stdin of its own': (
    'import sys\nsys.stdin = open("/dev/stdin")\nprint(int(input()) + 1)'
  ),
  'in a thread': (
    'import threading\nthreading.Thread(target=lambda: print('
    'int(open("/dev/stdin").read()) + 1)).start()'
  ),
  'and writes': (
    'open("/dev/stdout", "w").write(str(int(open("/dev/fd/0").read()) + 1))'
  ),
}
_MAIN = '#include <cstdio>\n#include <fstream>\nint main(){int n;'
CPP = {
  'stream': 'std::ifstream f("/dev/stdin");f>>n;printf("%d",n+1);}',
  'file': 'FILE*f=fopen("/dev/stdin","r");fscanf(f,"%d",&n);printf("%d",n+1);}',
  'reopened': 'freopen("/dev/stdin","r",stdin);scanf("%d",&n);'
  'freopen("/dev/stdout","w",stdout);printf("%d",n+1);}',
}
NUMBERS = {
  'printed': 'n = 10 ** 5000\nprint(6 if len(str(n)) == 5001 else 0)',
  'read': 'print(6 if int("9" * 5000) + 1 == 10 ** 5000 else 0)',
}


@pytest.mark.parametrize(
  'source', [*ENDS.values(), *NUMBERS.values()], ids=[*ENDS, *NUMBERS]
)
def test_a_program_ends_as_on_a_command_line(pool, source):
  outcome = pool.run(pool_lib.Job('python', source, '5\n'))
  assert (outcome.stdout.strip(), outcome.reason) == ('6', ''), outcome.stderr


@pytest.mark.parametrize('name', [*READS, *CPP])
def test_what_is_open_can_be_opened_by_its_name(pool, name):
  if pool.rung.startswith('bwrap'):
    pytest.skip('no /proc in bwrap')
  job = pool_lib.Job('python', READS.get(name, ''), '5\n')
  if name in CPP:
    job = pool_lib.Job('cpp', _MAIN + CPP[name], '5\n')
  outcome = pool.run(job)
  if outcome.reason.startswith('compile: sandbox'):
    pytest.skip('no g++')
  assert (outcome.stdout.strip(), outcome.reason) == ('6', ''), outcome.stderr


def test_of_proc_its_own_files_are_all_there_is(pool):
  if not pool.rung.startswith('namespaces'):
    pytest.skip(f"/proc is the system's or none in {pool.rung}")
  look = (
    'import os\nprint(os.listdir("/proc"), os.listdir("/proc/self"))\n'
    'print(os.listdir("/dev/fd/..") == os.listdir("/dev"))\n'
    'print({os.readlink(f"/dev/fd/{n}") for n in (0, 1, 2)})'
  )
  outcome = pool.run(pool_lib.Job('python', look))
  assert outcome.stdout == ("['self'] ['fd']\nTrue\n{'/memfd:k15 (deleted)'}\n")


def test_what_exit_handlers_do_is_judged_too(pool):
  def run(body, seconds=60.0):
    source = f'import atexit, os\n@atexit.register\ndef end():\n  {body}'
    limits = pool_lib.Limits(seconds=seconds)
    return pool.run(pool_lib.Job('python', source, limits=limits)).reason

  assert run('while True: pass', 0.5) == 'timeout'
  assert run('os._exit(3)') == 'crash: exit code 3'
  assert run('1 / 0') == ''  # As on a command line: exit code 0.


def test_public_programs(pool):
  path = PUBLIC / 'programs.jsonl'
  if not path.exists():
    pytest.skip(f'no {path.name} below {PUBLIC}')
  for line in path.read_text().splitlines():
    case = json.loads(line)
    test = programs.StdinTest(case['stdin'], case['stdout'])
    verdict = programs.judge_program(
      pool, case['language'], case['program'], [test]
    )
    assert verdict.kind == case['expect'], (case['name'], verdict)
