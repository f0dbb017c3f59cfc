"""Tests of benchmarks/stress/chaos.py: its parts, and a short run of it."""

import socket
import sys
import threading
import time
import types

import forked
import numpy as np
import pytest
import thorough

from benchmarks.stress import chaos
from benchmarks.stress import chaos_parts

# Seconds long.
SHORT = chaos.OVERRIDES | {
  'stages': "('rl',)",
  'policy.num_layers': 1,
  'policy.d_model': 16,
  'policy.num_heads': 2,
  'policy.head_dim': 8,
  'policy.d_ff': 32,
  'task.held_out_problems': 4,
  'rl.iterations': 4,
  'rl.problems_per_iteration': 4,
  'rollout.max_length': 48,
  'rollout.token_budget': 16,
}
# The same with pictures: what a worker loses, it is sent again.
PICTURES = {
  'stages': "('rl',)",
  'task.held_out_problems': 4,
  'vision.image_share': 1.0,
  'vision.rl_image_share': 1.0,
  'rl.iterations': 4,
  'rl.problems_per_iteration': 4,
  'rl.group_size': 2,
  'rollout.max_length': 48,
  'rollout.token_budget': 16,
  'rollout.num_slots': 4,
  'rollout.prefill_batch': 2,
  'rollout.tokens_per_call': 1,
  'rollout.repetition_count': 0,
  'saving.every_iterations': 1,
}
SECONDS = 60  # to wait for what comes at once on a machine at rest


@pytest.fixture
def echo():
  """The port of a server that says everything back."""
  listener = socket.create_server(('127.0.0.1', 0))

  def answer(connection):
    try:
      while data := connection.recv(1024):
        connection.sendall(data)
    except OSError:
      pass
    connection.close()

  def accept():
    while True:
      try:
        connection, _ = listener.accept()
      except OSError:
        return
      threading.Thread(target=answer, args=(connection,), daemon=True).start()

  threading.Thread(target=accept, daemon=True).start()
  yield listener.getsockname()[1]
  listener.close()


def connect(proxy):
  return socket.create_connection(('127.0.0.1', proxy.port), SECONDS)


def test_a_proxy_passes_on_and_cuts(echo):
  proxy = chaos_parts.Proxy(echo)
  with connect(proxy) as connection:
    connection.sendall(b'hello')
    assert connection.recv(16) == b'hello' and proxy.passed == 5
    assert proxy.cut() == 2  # Ends: of the caller and of the server.
    with pytest.raises(ConnectionResetError):
      connection.recv(16)
  with connect(proxy) as connection:  # It is a cut, not the end.
    connection.sendall(b'again')
    assert connection.recv(16) == b'again'
  proxy.close()


def test_nobody_behind_a_proxy_looks_like_a_reset():
  proxy = chaos_parts.Proxy(chaos_parts.free_port())
  # While it connects or after: whichever the reset finds.
  with pytest.raises(ConnectionResetError), connect(proxy) as connection:
    connection.recv(16)
  proxy.close()


def make_service(folder, code):
  return chaos_parts.Service(
    'service', [sys.executable, '-c', code], folder, folder / 'log', {}
  )


def test_a_service_is_killed_even_while_it_hangs(tmp_path):
  service = make_service(tmp_path, 'import time; time.sleep(600)')
  service.start()
  hanging = threading.Thread(target=service.hang, args=(600.0,))
  hanging.start()
  service.kill()
  hanging.join(SECONDS)
  assert not hanging.is_alive() and service.process.returncode == -9
  assert not service.is_going


def test_a_full_disk_is_an_error_of_the_next_write(tmp_path):
  code = (
    'import sys, time\nprint("go", flush=True)\nsys.stdin.readline()\n'
    'with open("file", "wb") as f: f.write(bytes(9000))\n'
  )
  service = make_service(tmp_path, code)
  read, write = socket.socketpair()
  service.start(stdin=read)
  end = time.monotonic() + SECONDS
  while 'go' not in service.tail() and time.monotonic() < end:
    time.sleep(0.01)
  service.fill_disk(4096)
  write.sendall(b'\n')
  assert service.process.wait(SECONDS) == 1
  assert 'File too large' in service.tail()
  assert (tmp_path / 'file').stat().st_size <= 4096


def test_the_verdict_tells_what_is_wrong():
  group = dict(
    group_id=0, problem_id='p', samples=[0, 1], lengths=[3, 40], crc32=[1, 2],
    rewards=[0.0, 1.0], iteration=2,
  )  # fmt: skip
  index = b'{"next_group_id": 1, "groups": []}'

  def state(**changes):
    logprobs = np.array([-1.0, -2.0], np.float32)
    return {
      'groups.jsonl': [group | changes],
      'rl buffer/index': np.frombuffer(index, np.uint8),
      'rl buffer/behavior_logprobs': logprobs,
    }

  settings = {'rl.group_size': 2, 'rollout.token_budget': 32}
  verdict = chaos.Verdict()
  verdict.add(state(), state(), settings)
  assert verdict == chaos.Verdict(responses=2, resumed=1)
  verdict.add(state(), state(crc32=[1, 3]), settings)
  # The response, and the file that names it.
  assert verdict.mismatched == 2 and verdict.lost == 0
  verdict = chaos.Verdict()
  verdict.add(state(), state(samples=[0, 0]), settings)
  assert verdict.duplicated == 1 and verdict.lost == 1


@pytest.fixture
def forks(monkeypatch):
  """Services are forks of a process that has imported k15."""
  fork = types.SimpleNamespace(Popen=forked.popen)
  monkeypatch.setattr(chaos_parts, 'subprocess', fork)


def test_a_short_run_ends_as_if_nothing_had_happened(forks, tmp_path):
  kinds = ['cut', 'kill worker', 'kill trainer']
  result = chaos.run(tmp_path, kinds, 2, 0, SHORT)
  assert result['faults'] == 3 and result['responses'] > 0
  assert result['lost'] == result['duplicated'] == result['mismatched'] == 0
  assert result['resumed'] > 0
  assert result['logprob_difference'] < 1e-4


@thorough.MARK
def test_a_short_run_with_pictures_ends_as_if_nothing_had_happened(
  forks, tmp_path
):
  kinds = ['kill worker', 'kill trainer']
  smoke = 'experiments/vision.py:smoke'
  result = chaos.run(tmp_path, kinds, 2, 0, PICTURES, smoke)
  assert result['faults'] == 2 and result['responses'] > 0
  assert result['lost'] == result['duplicated'] == result['mismatched'] == 0
  assert result['resumed'] > 0
  assert result['logprob_difference'] < 1e-4
