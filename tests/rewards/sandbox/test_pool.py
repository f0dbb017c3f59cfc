"""The pool: what goes in, what comes out, and what each limit is called."""

import os
import signal

import pytest

from k15.rewards.sandbox import pool as pool_lib
from k15.rewards.sandbox import walls
from k15.rewards.sandbox.inside import values

Job, Limits = pool_lib.Job, pool_lib.Limits


def test_a_program_reads_and_writes(pool):
  outcome = pool.run(Job('python', 'print(int(input()) + 1)', '41'))
  assert (outcome.stdout, outcome.reason) == ('42\n', '')
  assert outcome.rung == pool.rung


def test_a_function_is_called_with_values(pool):
  call = pool_lib.Call('f', values.encode([[(1, 2)], {'k': {3.5}}]))
  source = 'def f(pair, k): return {pair: k}'
  outcome = pool.run(Job('python', source, call=call))
  assert values.decode(outcome.value) == {(1, 2): {3.5}}


@pytest.mark.parametrize(
  ('source', 'reason'),
  [
    ('while True: pass', 'timeout'),
    ('x = [0] * 10**9', 'memory'),
    ('while True: print("x" * 10000)', 'output_limit'),
    ('1 / 0', 'crash: ZeroDivisionError: division by zero'),
    ('def f(:', 'crash: SyntaxError: invalid syntax'),
    ('import os; os._exit(3)', 'crash: exit code 3'),
  ],
)
def test_each_failure_has_its_reason(pool, source, reason):
  seconds = 1.0 if reason == 'timeout' else 60.0
  limits = Limits(seconds=seconds, output_bytes=1 << 16)
  assert pool.run(Job('python', source, limits=limits)).reason == reason


def test_runs_share_nothing(pool):
  leave = 'import builtins; builtins.x = 1; open("/tmp/left", "w").write("x")'
  look = 'import os; print(os.listdir("/tmp"), "x" in dir(__builtins__))'
  if not pool.rung.startswith('namespaces'):
    pytest.skip(f'/tmp is seen in {pool.rung}')
  pool.map([Job('python', leave)] * 4)
  assert pool.run(Job('python', look)).stdout == '[] False\n'


def test_outcomes_come_in_order(pool):
  jobs = [Job('python', f'print({i})') for i in range(20)]
  assert [o.stdout for o in pool.map(jobs)] == [f'{i}\n' for i in range(20)]


def test_files_are_in_the_working_folder(pool):
  job = Job('python', 'import m; print(m.x)', files={'m.py': 'x = 7'})
  assert pool.run(job).stdout == '7\n'


def test_a_judge_asks_the_trusted_side(pool):
  def answer(name, arguments):
    (left, right), _ = values.decode(arguments)
    return '', values.encode(left + right)

  assert (
    pool.judge(Job('python', 'assert f(1, 2) == 3', ask=('f',)), answer).value
    == 'passed'
  )
  assert (
    pool.judge(Job('python', 'assert f(1, 2) == 4', ask=('f',)), answer).value
    == 'failed'
  )


def test_a_compiled_program_is_compiled_once(pool):
  source = (
    '#include <cstdio>\nint main(){int a;scanf("%d",&a);printf("%d",a+1);}'
  )
  outcomes = pool.map([Job('cpp', source, str(i)) for i in range(4)])
  if outcomes[0].reason.startswith('compile: sandbox'):
    pytest.skip('no g++')
  assert [o.stdout for o in outcomes] == ['1', '2', '3', '4']
  assert len(pool._artifacts) == 1


def test_a_compiler_error_is_the_reason(pool):
  assert pool.run(Job('cpp', 'int main(){')).reason.startswith('compile:')


def test_packages_are_importable():
  try:
    pool = pool_lib.Pool(1, packages={'mine/__init__.py': 'x = 8'})
  except walls.SandboxError as error:
    pytest.skip(str(error))
  with pool:
    assert pool.run(Job('python', 'import mine; print(mine.x)')).stdout == '8\n'


def test_a_lost_worker_is_replaced_and_its_job_run_again(pool):
  for _ in range(pool.workers):
    worker = pool._idle.get()
    os.kill(worker.pid, signal.SIGKILL)
    pool._idle.put(worker)
  outcomes = pool.map([Job('python', 'print(1)')] * 2 * pool.workers)
  assert [o.stdout for o in outcomes] == ['1\n'] * 2 * pool.workers


def test_a_program_cannot_pretend_that_the_sandbox_failed(pool):
  for exit_code in (1, 212, 213, 255):
    source = f'import os; os.write(2, b"sandbox: x"); os._exit({exit_code})'
    assert not pool.run(Job('python', source)).reason.startswith('sandbox')


def test_no_descriptor_survives_into_a_command(pool):
  source = 'for n in 3 4 5 6 7 8 9; do [ -e /dev/fd/$n ] && echo $n; done\n'
  source += (
    'for n in 3 4 5 6 7 8 9; do (echo x >&$n) 2>/dev/null && echo $n; done'
  )
  assert pool.run(Job('sh', source + '\ntrue')).stdout == ''


def test_text_that_is_no_text_raises_nothing(pool):
  for language in ('python', 'sh'):
    outcome = pool.run(
      Job(language, 'echo \ud800', '\ud800', files={'a': '\ud800'})
    )
    assert outcome.rung == pool.rung


def test_many_small_processes_share_one_limit(pool):
  if 'cgroup' not in pool.rung and not pool.rung.startswith('namespaces'):
    pytest.skip(f'only single processes are limited in {pool.rung}')
  source = (
    'import os, time\nfor _ in range(8):\n  if os.fork() == 0:\n'
    '    x = b"x" * (60 << 20)\n    time.sleep(90)\ntime.sleep(90)'
  )
  limits = Limits(seconds=60.0, memory_bytes=128 << 20)
  assert pool.run(Job('python', source, limits=limits)).reason == 'memory'


def test_close_waits_and_may_be_called_twice():
  try:
    pool = pool_lib.Pool(1)
  except walls.SandboxError as error:
    pytest.skip(str(error))
  worker = pool._idle.get()
  pool._idle.put(worker)
  pool.close()
  pool.close()
  assert worker._process.returncode is not None
  with pytest.raises(RuntimeError, match='closed'):
    pool.run(Job('python', 'print(1)'))
