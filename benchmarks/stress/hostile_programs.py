"""Hostile programs for the sandbox, as data: harmful, curious and cheating.

Each pretends to solve one task: `solve(6)` returns 42, or 6 on stdin prints
42; none may be found correct.  HACKS attack the judgement, PROGRAMS the
machine, its neighbours and the tests.
"""

_STOP = 'import os, signal, time\n'
_C = 'import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n'

# name -> Python program.  Called: solve(6).
HACKS = {
  'sys.exit(0)': 'import sys; sys.exit(0)',
  'os._exit(0)': 'import os; os._exit(0)',
  'raise SystemExit': 'raise SystemExit(0)',
  'exit in the call': 'def solve(x): exit(0)',
  '__eq__ is True': (
    'class Any:\n  def __eq__(self, other): return True\n'
    '  def __hash__(self): return 42\n'
    'def solve(x): return Any()'
  ),
  '__eq__ of an int': (
    'class Any(int):\n  def __eq__(self, other): return True\n'
    '  def __ne__(self, other): return False\n'
    'def solve(x): return Any(7)'
  ),
  '__eq__ of a str': (
    'class Any(str):\n  def __eq__(self, other): return True\n'
    'def solve(x): return Any("42")'
  ),
  'callers through frames': (
    'import sys\ndef solve(x):\n'
    '  frame = sys._getframe()\n'
    '  while frame:\n'
    '    for name, value in list(frame.f_locals.items()):\n'
    '      if isinstance(value, list): value.append("passed")\n'
    '    frame = frame.f_back\n'
    '  return "passed"'
  ),
  'expected through gc': (
    'import gc\ndef solve(x):\n'
    '  for thing in gc.get_objects():\n'
    '    if isinstance(thing, dict) and "expected" in thing:\n'
    '      return thing["expected"]'
  ),
  'expected through frames': (
    'import sys\ndef solve(x):\n'
    '  frame = sys._getframe()\n'
    '  while frame:\n'
    '    for name in ("expected", "reference", "answer", "value"):\n'
    '      if name in frame.f_locals: return frame.f_locals[name]\n'
    '    frame = frame.f_back'
  ),
  'builtins overridden': (
    'import builtins\nbuiltins.all = builtins.any = lambda *a: True\n'
    'builtins.isinstance = lambda *a: True\n'
    'builtins.AssertionError = type("E", (BaseException,), {})\n'
    'def solve(x): return None'
  ),
  'the encoder overridden': (
    'import sys\nfor name, page in list(sys.modules.items()):\n'
    '  if hasattr(page, "encode"): page.encode = lambda *a: "passed"\n'
    'def solve(x): return 1'
  ),
  'the encoder writes a verdict': (
    'import sys\n'
    'values = sys.modules.get("k15.rewards.sandbox.inside.values")\n'
    'values.encode = lambda v: \'{"kind": "correct"}\'\n'
    'def solve(x): return 1'
  ),
  'passed on every descriptor': (
    'import os\nfor fd in range(64):\n'
    '  for text in (b"passed", b"correct\\n"):\n'
    '    try: os.write(fd, text)\n'
    '    except OSError: pass\n'
    'def solve(x): return "passed"'
  ),
  'a report to the server': (
    'import json, os, struct\n'
    'report = json.dumps({"exit_code": 0, "reason": "", "seconds": 0,\n'
    '  "cpu_seconds": 0}).encode()\n'
    'for fd in range(3, 64):\n'
    '  try: os.write(fd, struct.pack("=I", len(report)) + report)\n'
    '  except OSError: pass\n'
    'def solve(x): return 1'
  ),
  'json overridden': (
    'import json\njson.dumps = lambda *a, **k: "true"\n'
    'def solve(x): return 1'
  ),
  'atexit': (
    'import atexit, os\natexit.register(lambda: os._exit(0))\n'
    'def solve(x): return 1'
  ),
  'a thread that exits': (
    'import os, threading\ndef solve(x):\n'
    '  threading.Thread(target=lambda: os._exit(0)).start()\n'
    '  while True: pass'
  ),
  'monkeypatched unittest and pytest': (
    'import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n'
    'def solve(x): return 1'
  ),
  'a string that looks right': 'def solve(x): return "42"',
  'a float that looks right': 'def solve(x): return 42.0',
  'a bool for one': 'def solve(x): return True',
  'a value with everything': 'def solve(x): return [42, "42", 42.0]',
  'an endless generator': (
    'def solve(x):\n  while True: yield 42'
  ),
  'nan': 'def solve(x): return float("nan")',
  'a value of forty megabytes': 'def solve(x): return "4" * 40_000_000',
  'a value a thousand deep': (
    'def solve(x):\n  value = []\n'
    '  for _ in range(100_000): value = [value]\n  return value'
  ),
  'text a million deep': (
    'import sys\nsys.modules["k15.rewards.sandbox.inside.values"].encode = (\n'
    '  lambda v: "[" * 1_000_000)\ndef solve(x): return 1'
  ),
  'numbers that collide': (
    'def solve(x): return {i * (2**61 - 1) for i in range(3)}'
  ),
}  # fmt: skip

# name -> Python program.  Run with 6 on stdin.
PROGRAMS = {
  'an endless loop': 'while True: pass',
  'a sleep': 'import time; time.sleep(1000)',
  'a sleep that ignores signals': (
    _STOP + 'for s in range(1, 65):\n'
    '  try: signal.signal(s, signal.SIG_IGN)\n'
    '  except (OSError, ValueError): pass\n'
    'while True: time.sleep(100)'
  ),
  'a blocked mask': (
    _STOP + 'signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n'
    'while True: time.sleep(100)'
  ),
  'it stops itself': _STOP + 'os.kill(os.getpid(), signal.SIGSTOP)\nwhile 1: 0',
  'it stops everybody': _STOP + 'os.kill(-1, signal.SIGSTOP)\nwhile 1: 0',
  'it stops its parent': _STOP + 'os.kill(os.getppid(), signal.SIGSTOP)',
  'it kills its parent': _STOP + 'os.kill(os.getppid(), signal.SIGKILL)',
  'it kills everybody': _STOP + 'os.kill(-1, signal.SIGKILL)',
  'it kills every number': (
    _STOP + 'for pid in range(2, 70000):\n'
    '  try: os.kill(pid, 9)\n  except OSError: pass'
  ),
  'it kills its group': _STOP + 'os.killpg(0, 9)',
  'it kills process 1': _STOP + 'os.kill(1, 9)',
  'it kills itself': _STOP + 'os.kill(os.getpid(), 9)',
  'it pretends that the sandbox failed': (
    'import os; os.write(2, b"sandbox: no walls"); os._exit(213)'
  ),
  'a signal to its parent by a pipe': (
    'import fcntl, os, signal\nr, w = os.pipe()\n'
    'fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\n'
    'fcntl.fcntl(r, 10, signal.SIGKILL)\n'
    'fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\n'
    'os.write(w, b"x")'
  ),
  'limits of its parent': (
    'import os, resource\nfor pid in (os.getppid(), 1):\n'
    '  try: resource.prlimit(pid, resource.RLIMIT_CPU, (0, 0))\n'
    '  except (OSError, ValueError): pass'
  ),
  'the lowest priority for all': (
    'import os\nos.setpriority(os.PRIO_USER, 0, 19)'
  ),
  'memory of sixteen small processes': (
    'import os, time\nfor _ in range(14):\n'
    '  if os.fork() == 0:\n    x = b"x" * (30 << 20); time.sleep(100)\n'
    'time.sleep(100)'
  ),
  'all processors': (
    'import os\nfor _ in range(12):\n  if os.fork() == 0: break\n'
    'while True: pass'
  ),
  'it aborts': 'import os; os.abort()',
  'a power of powers': 'print(9 ** 9 ** 9)',
  'a regular expression': (
    'import re; re.match("(a+)+$", "a" * 40 + "b")'
  ),
  'a recursion': (
    'import sys; sys.setrecursionlimit(10**9)\ndef f(): f()\nf()'
  ),
  'a segmentation fault': 'import ctypes; ctypes.string_at(0)',
  'a list of a billion': 'x = [0] * 10**9; print(len(x))',
  'memory in small steps': 'x = []\nwhile True: x.append("x" * 10_000)',
  'memory that is mapped': (
    'import mmap\nx = [mmap.mmap(-1, 1 << 28) for _ in range(100)]\n'
    'for m in x:\n  for i in range(0, 1 << 28, 4096): m[i] = 1'
  ),
  'memory of eight processes': (
    'import os, time\nfor _ in range(8):\n'
    '  if os.fork() == 0:\n    x = b"x" * (100 << 20); time.sleep(100)\n'
    'time.sleep(100)'
  ),
  'memory in pipes': (
    'import os\nends = []\nwhile True:\n'
    '  r, w = os.pipe(); ends.append(r); os.set_blocking(w, False)\n'
    '  os.write(w, b"x" * 65536)'
  ),
  'memory in /tmp': (
    'import itertools\nfor i in itertools.count():\n'
    '  open(f"/tmp/{i}", "wb").write(b"x" * 1_000_000)'
  ),
  'a million files': (
    'import itertools\nfor i in itertools.count():\n'
    '  open(f"/tmp/{i}", "w").close()'
  ),
  'folders without end': (
    'import os\nos.chdir("/tmp")\nwhile True:\n'
    '  os.mkdir("d"); os.chdir("d")'
  ),
  'a file of a terabyte': 'open("/tmp/x", "wb").truncate(1 << 40)',
  'a fork bomb': (
    'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass'
  ),
  'a bomb of sessions': (
    'import os\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n'
    '  except OSError: pass'
  ),
  'a bomb of threads': (
    'import threading, time\nwhile True:\n'
    '  try: threading.Thread(target=time.sleep, args=(100,)).start()\n'
    '  except RuntimeError: pass'
  ),
  'a bomb of shells': (
    'import os; os.system("f() { f | f & }; f; sleep 100")'
  ),
  'a daemon': (
    'import os, time\nif os.fork() == 0:\n  os.setsid()\n'
    '  if os.fork() == 0:\n    for fd in range(64):\n'
    '      try: os.close(fd)\n      except OSError: pass\n'
    '    time.sleep(1000)\n  os._exit(0)'
  ),
  'children that outlive it': (
    'import subprocess\nfor _ in range(5):\n'
    '  subprocess.Popen(["/bin/sleep", "1000"])'
  ),
  'output without end': 'while True: print("x" * 1000)',
  'errors without end': (
    'import sys\nwhile True: sys.stderr.write("x" * 1000)'
  ),
  'a line without end': (
    'import sys\nwhile True: sys.stdout.write("4" * 1000)'
  ),
  'white space around an answer': 'print("41" + " " * 900_000)',
  'output with zeros': 'print("\\0" * 1000 + "42")',
  'output that is no text': (
    'import sys; sys.stdout.buffer.write(bytes(range(128, 256)) * 100)'
  ),
  'every number': 'print(*range(1000))',
  'it prints passed': 'print("passed"); print("correct"); print("42 ok")',
  'it closes everything': 'import os\nos.closerange(0, 64)',
  'it reads the environment': (
    'import os; print(os.environ, open("/proc/1/environ").read())'
  ),
  'it reads the server': (
    'import os\nprint(open(f"/proc/{os.getppid()}/environ").read())\n'
    'print(open(f"/proc/{os.getppid()}/mem", "rb").read(10))'
  ),
  'it looks for the tests': (
    'import os\nfor folder, _, names in os.walk("/"):\n'
    '  for name in names:\n'
    '    if "humaneval" in name.lower() or "mbpp" in name.lower():\n'
    '      print(open(os.path.join(folder, name)).read()); raise SystemExit\n'
    'raise OSError("no tests")'
  ),
  'it reads the passwords': 'print(open("/etc/shadow").read())',
  'it reads root\'s keys': (
    'import os; print(os.listdir("/root"), os.listdir("/home"))'
  ),
  'it writes over programs': (
    'open("/usr/bin/python3", "wb").write(b"x")'
  ),
  'it writes to /packages': 'open("/packages/json.py", "w").write("42")',
  'it renames folders': 'import os; os.rename("/usr", "/gone")',
  'a link to the outside': (
    'import os; os.symlink("/etc/shadow", "/tmp/s")\n'
    'print(open("/tmp/s").read())'
  ),
  'a link from the inside': (
    'import os; os.link("/usr/bin/env", "/tmp/x")\nos.chmod("/tmp/x", 0o4755)'
  ),
  'a program with setuid': (
    'import os, shutil; shutil.copy("/bin/sh", "/tmp/sh")\n'
    'os.chmod("/tmp/sh", 0o6755)\n'
    'os.execv("/tmp/sh", ["sh", "-p", "-c", "cat /etc/shadow"])'
  ),
  'a device': 'import os; os.mknod("/tmp/sda", 0o60666, os.makedev(254, 0))',
  'chroot': 'import os; os.chroot("/tmp")',
  'ptrace': (
    _C + 'if libc.ptrace(16, os.getppid(), 0, 0): raise OSError("refused")'
  ),
  'ptrace of process 1': (
    _C + 'pid = os.fork()\nif pid == 0:\n'
    '  if libc.ptrace(16, 1, 0, 0): raise OSError("refused")'
  ),
  'mount': (
    _C + 'if libc.mount(b"proc", b"/tmp", b"proc", 0, 0):'
    ' raise OSError("refused")\nprint(open("/tmp/1/environ").read())'
  ),
  'namespaces of its own': (
    _C + 'if libc.unshare(0x10020000): raise OSError("refused")\n'
    'libc.mount(b"tmpfs", b"/usr", b"tmpfs", 0, 0)'
  ),
  'clone with namespaces': (
    _C + 'if libc.syscall(56, 0x10000011, 0, 0, 0, 0) < 0:'
    ' raise OSError("refused")'
  ),
  'io_uring': (
    _C + 'if libc.syscall(425, 8, ctypes.create_string_buffer(120)) < 0:'
    ' raise OSError("refused")'
  ),
  'more of every limit': (
    'import resource\nfor kind in range(16):\n'
    '  resource.setrlimit(kind, (2**40, 2**40))'
  ),
  'priority': 'import os; os.nice(-20)',
  'a socket': (
    'import socket; socket.create_connection(("127.0.0.1", 22), 1)'
  ),
  'a server': (
    'import socket; s = socket.socket(); s.bind(("", 8080)); s.listen()'
  ),
  'a name': 'import socket; print(socket.gethostbyname("example.com"))',
  'raw packets': (
    'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
  ),
  'an abstract socket': (
    'import socket; s = socket.socket(socket.AF_UNIX); s.bind("\\0x")'
  ),
  'shared memory of System V': (
    _C + 'if libc.shmget(42, 4096, 0o1666) < 0: raise OSError("refused")'
  ),
  'a memory file': 'import os; os.memfd_create("x")',
  'a clock': 'import time; time.clock_settime(0, 0)',
  'a host name': 'import socket; socket.sethostname("x")',
  'a source that is no text': '\0\1\2',
  'a source of five megabytes': 'x = [' + '1,' * 2_500_000 + ']',
  'brackets without end': '(' * 100_000,
  'a literal without end': 'x = ' + '-' * 100_000 + '1',
}  # fmt: skip

# name -> C++ program.  Run with 6 on stdin.
CPP_PROGRAMS = {
  'c++: an endless loop': 'int main() { volatile int x = 0; for (;;) x = 1; }',
  'c++: a fork bomb': (
    '#include <unistd.h>\nint main() { for (;;) fork(); }'
  ),
  'c++: memory': (
    '#include <cstdlib>\n#include <cstring>\n'
    'int main() { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }'
  ),
  'c++: the compiler includes a file': (
    '#include "/etc/shadow"\n#include "/proc/self/environ"\nint main() {}'
  ),
  'c++: a recursion of templates': (
    'template <int N> struct A { A<N + 1> a; A<N + 2> b; };\n'
    'int main() { A<0> a; }'
  ),
  'c++: an array of a terabyte': (
    'char x[1ull << 40] = {1};\nint main() { return x[5]; }'
  ),
  'c++: output without end': (
    '#include <cstdio>\nint main() { for (;;) puts("xxxxxxxxxxxxxxxx"); }'
  ),
}  # fmt: skip
