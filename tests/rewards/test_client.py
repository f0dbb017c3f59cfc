"""The client against real services: killed, hung, full, and back again."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import pytest

from k15.rewards import client as client_lib
from k15.rewards.code import programs
from k15.rewards.verdict import Verdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN = 'of the test'
REFERENCE = programs.to_text([programs.StdinTest('20', '21')])


def response(answer, pause=0.0):
  return (
    'So:\n```python\nimport time\n'
    f'time.sleep({pause})\nprint(int(input()) + {answer})\n```'
  )


def start(port=0, *arguments):
  """(process, port) of a service."""
  process = subprocess.Popen(
    [
      sys.executable, '-m', 'k15.rewards.service', '--workers=1',
      f'--port={port}', *arguments,
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    env={**os.environ, 'K15_REWARD_TOKEN': TOKEN},
    text=True,
  )  # fmt: skip
  line = process.stdout.readline()
  if 'no sandbox' in line + (process.stdout.read() if 'Trace' in line else ''):
    pytest.skip('no sandbox on this machine')
  assert line.startswith('listening on 127.0.0.1:'), line
  return process, int(line.split(':')[1].split(',')[0])


@contextlib.contextmanager
def services(*arguments):
  """Two of them; whoever lives at the end is killed."""
  both = [start(0, *arguments), start(0, *arguments)]
  try:
    yield both
  finally:
    for process, _ in both:
      end(process)


def end(process):
  process.kill()
  process.wait()
  process.stdout.close()


def verify_all(client, pairs):
  """Verdicts in order, asked for from as many threads as a run may have."""
  with futures.ThreadPoolExecutor(64) as threads:
    return list(threads.map(lambda pair: client.verify(*pair), pairs))


def urls(both):
  return [f'http://127.0.0.1:{port}' for _, port in both]


def test_verdicts_come_in_order_and_from_both():
  pairs = [(response(1 + i % 2), REFERENCE) for i in range(12)]
  with services() as both:
    client = client_lib.Client(urls(both), TOKEN)
    kinds = [v.kind for v in verify_all(client, pairs)]
    assert kinds == ['correct', 'wrong'] * 6
    with pytest.raises(PermissionError):
      client_lib.Client(urls(both), 'wrong').verify(*pairs[0])
    with pytest.raises(ValueError, match='not a request'):
      client.verify('x', '{}')


def test_killing_a_service_loses_no_verdict():
  pairs = [(response(1 + i % 2, 0.05), REFERENCE) for i in range(40)]
  with services() as both:
    client = client_lib.Client(urls(both), TOKEN)
    killer = threading.Timer(0.4, both[0][0].kill)
    killer.start()
    kinds = [v.kind for v in verify_all(client, pairs)]
    killer.join()
    assert both[0][0].wait() == -signal.SIGKILL
  assert kinds == ['correct', 'wrong'] * 20


def test_with_all_killed_it_waits_for_one_to_come_back():
  pairs = [(response(1 + i % 2, 0.05), REFERENCE) for i in range(20)]
  with services() as both:
    client = client_lib.Client(urls(both), TOKEN)
    kinds = []
    batch = threading.Thread(
      target=lambda: kinds.extend(v.kind for v in verify_all(client, pairs))
    )
    batch.start()
    time.sleep(0.3)
    for process, _ in both:
      end(process)
    assert batch.is_alive()
    both[0] = start(both[0][1])
    batch.join(60)
  assert kinds == ['correct', 'wrong'] * 10


def test_a_service_that_hangs_is_left():
  with services() as both:
    client = client_lib.Client(urls(both), TOKEN, silence_seconds=2.0)
    both[0][0].send_signal(signal.SIGSTOP)
    verdicts = verify_all(client, [(response(1), REFERENCE)] * 6)
  assert [v.kind for v in verdicts] == ['correct'] * 6


def test_full_services_make_it_wait():
  pairs = [(response(1, 0.05), REFERENCE)] * 20
  with services('--queue=1') as both:
    client = client_lib.Client(urls(both), TOKEN)
    verdicts = verify_all(client, pairs)
  assert [v.kind for v in verdicts] == ['correct'] * 20


def test_patience_ends_in_an_error():
  client = client_lib.Client(['http://127.0.0.1:9'], '', 0.3)
  verdict = client.verify('x', REFERENCE)
  assert verdict.kind == 'error'
  assert verdict.reason.startswith('service: no verdict; 127.0.0.1:9')


def test_a_failure_of_our_side_is_tried_again(monkeypatch):
  said = [Verdict('error', 'sandbox: no walls'), Verdict('wrong')]
  monkeypatch.setattr(
    client_lib.Client, '_ask', lambda self, service, body: said.pop(0)
  )
  client = client_lib.Client(['http://127.0.0.1:9'], '')
  assert client.verify('x', REFERENCE) == Verdict('wrong')
  said[:] = [Verdict('error', 'sandbox: no walls')] * 3
  assert client.verify('x', REFERENCE).reason == 'sandbox: no walls'
  assert said == []
