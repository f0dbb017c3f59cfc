"""The service: who it lets in, when it is full, what it counts."""

import contextlib
import http.client
import json
import re
import socket
import threading
import time

import pytest
import uvicorn

from k15.rewards import client as client_lib
from k15.rewards import service as service_lib
from k15.rewards.code import programs
from k15.rewards.verdict import Verdict

TOKEN = 'a token'
REFERENCE = programs.to_text([programs.StdinTest('1', '2')])
BODY = json.dumps({'response': 'x', 'reference': REFERENCE})


@contextlib.contextmanager
def serving(verify, workers=1, queue=0):
  """The port of a service in a thread of its own."""
  service = service_lib.Service(verify, TOKEN, workers, queue, 'a rung')
  config = uvicorn.Config(
    service.app, http='h11', loop='asyncio', lifespan='off', log_level='error'
  )
  server = uvicorn.Server(config)
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    listener.listen()  # Requests wait until the server takes them.
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
      yield listener.getsockname()[1]
    finally:
      server.should_exit = True
      thread.join()


def ask(port, method, path, body=None, token=TOKEN):
  connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
  headers = {'authorization': f'Bearer {token}'} if token else {}
  connection.request(method, path, body, headers)
  reply = connection.getresponse()
  text = reply.read()
  connection.close()
  return reply.status, text


def always_right(response, reference, limits):
  return Verdict('correct', '', 'a rung', limits.seconds)


def test_a_verdict_comes_back_with_its_limits():
  body = json.dumps(json.loads(BODY) | {'limits': {'seconds': 2.5}})
  with serving(always_right) as port:
    status, text = ask(port, 'POST', '/verify', body)
  assert status == 200
  assert Verdict(**json.loads(text)) == Verdict('correct', '', 'a rung', 2.5)


@pytest.mark.parametrize('token', ['', 'another', 'a token '[:-2]])
def test_without_the_token_there_is_health_alone(token):
  with serving(always_right) as port:
    assert ask(port, 'POST', '/verify', BODY, token)[0] == 401
    assert ask(port, 'GET', '/metrics', token=token)[0] == 401
    status, text = ask(port, 'GET', '/health', token=token)
  assert status == 200
  assert json.loads(text) == {'rung': 'a rung', 'pending': 0, 'room': 1}


@pytest.mark.parametrize(
  'body',
  [
    '', '[]', '{"response": 1, "reference": "{}"}', '{"response": "x"}',
    json.dumps({'response': 'x', 'reference': '{}'}),
    json.dumps({'response': 7, 'reference': REFERENCE}),
    json.dumps(
      {'response': 'x', 'reference': REFERENCE, 'limits': {'hours': 1}}
    ),
    json.dumps(
      {'response': 'x', 'reference': REFERENCE, 'limits': {'seconds': -1}}
    ),
    '[' * 100_000,
  ],
)  # fmt: skip
def test_what_is_no_request_is_refused(body):
  with pytest.raises(ValueError, match='not a request'):
    service_lib.parse(body.encode())


def test_a_refused_request_leaves_room():
  with serving(always_right) as port:
    for _ in range(3):
      assert ask(port, 'POST', '/verify', '[]')[0] == 400
    assert ask(port, 'POST', '/verify', BODY)[0] == 200


def test_a_body_without_end_is_cut(monkeypatch):
  monkeypatch.setattr(service_lib, 'MAX_BODY_BYTES', 1000)
  with serving(always_right) as port:
    assert ask(port, 'POST', '/verify', 'x' * 2000)[0] == 413


def test_a_full_queue_says_so_and_signs_of_life_come():
  go, replies = threading.Event(), []

  def slow(response, reference, limits):
    go.wait(30)
    return Verdict('wrong')

  def client(port):
    replies.append(ask(port, 'POST', '/verify', BODY))

  with serving(slow, workers=1, queue=1) as port:
    threads = [threading.Thread(target=client, args=(port,)) for _ in 'ab']
    for thread in threads:
      thread.start()
    while json.loads(ask(port, 'GET', '/health')[1])['pending'] < 2:
      time.sleep(0.01)
    status, _ = ask(port, 'POST', '/verify', BODY)
    assert status == 429
    time.sleep(1.2)  # More than a second: white space has been sent.
    go.set()
    for thread in threads:
      thread.join()
    numbers = ask(port, 'GET', '/metrics')[1].decode()
  assert all(r[0] == 200 and r[1].startswith(b' ') for r in replies)
  assert 'k15_reward_verdicts_total{kind="wrong"} 2.0' in numbers
  assert 'k15_reward_rejected_total 1.0' in numbers


def test_errors_are_counted_by_their_first_word():
  def broken(response, reference, limits):
    raise RuntimeError('no disk')

  def late(response, reference, limits):
    return Verdict('error', 'crash: IndexError: 3')

  with serving(late) as port:
    ask(port, 'POST', '/verify', BODY)
    numbers = ask(port, 'GET', '/metrics')[1].decode()
    assert re.search(r'errors_total\{reason="crash"\} 1.0', numbers)
  with serving(broken) as port:
    verdict = json.loads(ask(port, 'POST', '/verify', BODY)[1])
  assert verdict['kind'] == 'error' and 'no disk' in verdict['reason']


def test_a_token_is_made_once_and_asked_for(tmp_path, monkeypatch):
  monkeypatch.delenv(client_lib.TOKEN_VARIABLE, raising=False)
  path = tmp_path / 'token'
  token = service_lib.read_token(str(path), '0.0.0.0')
  assert len(token) >= 32 and path.stat().st_mode & 0o777 == 0o600
  assert service_lib.read_token(str(path), '0.0.0.0') == token
  with pytest.raises(ValueError, match='no token'):
    service_lib.read_token('', '127.0.0.1')
  with pytest.raises(ValueError, match='no token'):
    service_lib.read_token('', '0.0.0.0', without=True)
  assert service_lib.read_token('', '127.0.0.1', without=True) == ''
  monkeypatch.setenv(client_lib.TOKEN_VARIABLE, 'mine')
  assert service_lib.read_token('', '0.0.0.0') == 'mine'
