"""Runs untrusted programs: a pool of workers behind walls.

  with pool.Pool(workers=2) as pool:
    outcome = pool.run(Job(
      language='python', source='print(int(input()) + 1)', stdin='41',
      limits=Limits(seconds=2.0)))
    outcome.stdout == '42\\n', outcome.reason == '', outcome.rung
    outcomes = pool.map(jobs)            # many, in order, on all workers

  Job(language='python', source=solution,
              call=Call('add', values.encode([(1, 2), {}])))
    calls add(1, 2); outcome.value is the text of what it returned (values.py)

`run` may be called from any thread.  Nothing a program does raises here: what
went wrong is `outcome.reason`, and `outcome.rung` names the walls it ran in
(walls.py has the ladder).  Languages are rows of languages.py; one is compiled
once, and run once a test.

The pages, from the trusted side inwards: this pool, languages, walls (which
hold here), worker (one seen from outside), cgroups; then, of `inside`, server
(it forks), program (a fork), python (Python in it), kernel and seccomp (system
calls), values.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Mapping

from k15.rewards.sandbox import languages
from k15.rewards.sandbox import walls
from k15.rewards.sandbox import worker as worker_lib
from k15.rewards.sandbox.inside import python


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


# What solutions import most: loaded once in each worker, before any fork.
IMPORTS = (
  'bisect', 'collections', 'copy', 'datetime', 'decimal', 'fractions',
  'functools', 'heapq', 'itertools', 'json', 'math', 'operator', 'random',
  're', 'statistics', 'string', 'typing',
)  # fmt: skip
# What runtimes say that end by themselves when it is short.
_NO_MEMORY = (
  'bad_alloc', 'java.lang.OutOfMemoryError', 'JavaScript heap out of memory',
  'Allowed memory size', 'OutOfMemoryException',
)  # fmt: skip
_KEPT_ARTIFACTS, _STDERR_CHARACTERS = 32, 4000
COMPILE_LIMITS = Limits(
  seconds=60.0, memory_bytes=1 << 30, output_bytes=16 << 20, tmp_bytes=256 << 20
)


class Pool:
  """Workers behind the best walls that hold on this machine.

  Attributes:
    rung: its name.
    missing: why each better rung does not hold here.
  """

  def __init__(
    self,
    workers: int = 2,
    lowest: str = 'seccomp',
    packages: Mapping[str, str] | None = None,
    imports: Iterable[str] = IMPORTS,
    highest: str = 'namespaces',
    with_cgroups: bool = False,
  ):
    """Finds the rung, proves it, starts the workers.

    Args:
      workers: runs at once, >= 1.
      lowest: last rung that is good enough, in walls.LADDER.
      packages: Python files by relative path that programs may import.
      imports: modules to load once, before any fork.
      highest: first rung to try.
      with_cgroups: a control group around each worker, where this process may
        make one.  It writes below /sys/fs/cgroup, so it has to be asked for.

    Raises:
      walls.SandboxError: no rung holds; says what is missing.
    """
    if workers < 1:
      raise ValueError(f'a pool of {workers} workers')
    self._launcher, self._config, self.missing = walls.climb(
      lowest, dict(packages or {}), tuple(imports), highest, with_cgroups
    )
    self.rung = self._config['name']
    self.workers, self._closed = workers, False
    self._lock = threading.Lock()
    self._artifacts = collections.OrderedDict()
    self._compiling = collections.defaultdict(threading.Lock)
    # Judges have workers of their own: one waits for answers of the others.
    self._idle, self._idle_judges = queue.SimpleQueue(), queue.SimpleQueue()
    for _ in range(workers):
      self._idle.put(self._start())
      self._idle_judges.put(None)  # Started when one is needed.

  def __enter__(self) -> 'Pool':
    return self

  def __exit__(self, *error):
    self.close()

  def close(self):
    """Ends all workers, once what is running has ended."""
    closed, self._closed = self._closed, True
    for _ in range(0 if closed else self.workers):
      for idle in (self._idle, self._idle_judges):
        worker = idle.get()
        if worker is not None:
          worker.close()

  def map(self, jobs: Iterable[Job]) -> list[Outcome]:
    """Runs many, on all workers; outcomes in their order."""
    with concurrent.futures.ThreadPoolExecutor(self.workers) as threads:
      return list(threads.map(self.run, jobs))

  def run(self, job: Job) -> Outcome:
    """Runs one program; waits for a worker."""
    language = languages.LANGUAGES[job.language]
    if lacking := languages.missing(language):
      reason = f'sandbox: no program {", ".join(lacking)}'
      return Outcome(reason, rung=self.rung)
    blobs = {name: _bytes(text) for name, text in job.files.items()}
    if language.compile:
      failure, artifact = self._compiled(job, language)
      if failure:
        return failure
      blobs[language.artifact] = artifact
    elif language.run:
      blobs[language.source_name] = _bytes(job.source)
    if job.call and not language.has_calls:
      raise ValueError(f'no function calls in {job.language}')
    stage = 'exec' if language.run else 'call' if job.call else 'python'
    message = dict(
      stage=stage,
      source='' if language.run else job.source,
      command=languages.absolute(language.run),
      artifact=language.artifact,
      **dataclasses.asdict(job.call or Call()),
    )
    outcome = self._outcome(self._report(self._idle, message, blobs, job))
    if language.failure and language.failure in outcome.stderr:
      reason = outcome.reason or f'crash: {language.failure}'
      return dataclasses.replace(outcome, reason=reason)
    return outcome

  def judge(
    self, job: Job, answer: Callable[[str, str], tuple[str, str]]
  ) -> Outcome:
    """Runs a trusted Python program, on a worker apart from the others'.

    Args:
      job: names in `ask` are functions in its source.
      answer: called with such a name and the text of [positional, keywords];
        returns (failure, value text).
    """
    message = dict(stage='judge', source=job.source, ask=job.ask)
    return self._outcome(
      self._report(self._idle_judges, message, {}, job, answer)
    )

  def _compiled(self, job, language):
    """(None, the artifact), or (the outcome of compiling, None)."""
    key = (job.language, job.source)
    with self._lock:
      if key in self._artifacts:
        self._artifacts.move_to_end(key)
        return None, self._artifacts[key]
      # Responses of a group often hold the same program: one thread compiles,
      # the others wait for what it makes.
      lock = self._compiling.setdefault(key, threading.Lock())
    with lock:
      with self._lock:  # Another thread may drop it between two looks.
        artifact = self._artifacts.get(key)
      if artifact is not None:
        return None, artifact
      message = dict(
        stage='compile',
        command=languages.absolute(language.compile),
        artifact=language.artifact,
      )
      blobs = {language.source_name: _bytes(job.source)}
      task = Job(job.language, job.source, limits=COMPILE_LIMITS)
      report = self._report(self._idle, message, blobs, task)
      artifact = report.pop('result')
      outcome = self._outcome({**report, 'result': b''})
      with self._lock:
        self._compiling.pop(key, None)
      if outcome.reason:
        if outcome.reason.startswith('sandbox'):
          return outcome, None
        said = outcome.stderr[:300] if report['reason'] == '' else ''
        reason = f'compile: {said or outcome.reason}'
        return dataclasses.replace(outcome, reason=reason), None
      with self._lock:
        self._artifacts[key] = artifact
        if len(self._artifacts) > _KEPT_ARTIFACTS:
          self._artifacts.popitem(last=False)
      return None, artifact

  def _report(self, idle, message, blobs, job, answer=None):
    """What a worker says; one that is lost is replaced, and the job tried
    once more."""
    if self._closed:
      raise RuntimeError('the pool of the sandbox is closed')
    limits = dataclasses.asdict(job.limits)
    if answer is None:
      language = languages.LANGUAGES[job.language]
      limits['reserved_bytes'] = language.reserved_bytes
      limits['processes'] += language.threads
    worker, lost = idle.get(), ''
    try:
      for _ in range(2):
        try:
          worker = worker or self._start()
          return worker.run(message, blobs, _bytes(job.stdin), limits, answer)
        except worker_lib.WorkerLost as error:
          lost = str(error)
          if worker:
            worker.close()
          worker = None
      return dict(
        reason=f'sandbox: {lost}', exit_code=None, seconds=0.0,
        cpu_seconds=0.0, stdout=b'', stderr=b'', result=b'',
      )  # fmt: skip
    finally:
      idle.put(worker)

  def _outcome(self, report):
    texts = {
      name: report[name].decode(errors='replace')
      for name in ('stdout', 'stderr', 'result')
    }
    return Outcome(
      reason=report['reason'] or _reason(report, texts['stderr']),
      stdout=texts['stdout'],
      stderr=texts['stderr'][-_STDERR_CHARACTERS:],
      value=texts['result'],
      exit_code=report['exit_code'],
      seconds=report['seconds'],
      cpu_seconds=report['cpu_seconds'],
      rung=self.rung,
    )

  def _start(self):
    worker = worker_lib.Worker(self._launcher, self._config)
    worker.wait_ready()
    return worker


def _bytes(text):
  return text.encode(errors='replace')  # There may be half a surrogate pair.


def _reason(report, stderr):
  """Why a program that ended by itself is not a success."""
  exit_code, last = report['exit_code'], stderr.strip().rpartition('\n')[2]
  if not report['started']:
    return f'sandbox: {last[:200]}'
  if exit_code == 0:
    return ''
  if exit_code == python.OUT_OF_MEMORY or any(s in stderr for s in _NO_MEMORY):
    return 'memory'
  if exit_code < 0:
    with contextlib.suppress(ValueError):
      return f'crash: {signal.Signals(-exit_code).name}'
  return f'crash: {last[:200] or f"exit code {exit_code}"}'
