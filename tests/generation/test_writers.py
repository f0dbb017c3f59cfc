"""A rollout and a server that speaks the protocol, and what is made of both."""

import dataclasses
import http.server
import json
import threading
import types

import numpy as np
import pytest

from k15 import streams
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data_types import ImageRef, Problem, StopReason
from k15.generation import writers
from k15.generation.asks import Ask
from k15.rollout import requests

TOKENIZER = ByteTokenizer()
IDS = streams.IDS['texts']


def _ask(question, place=0, call=0, **more):
  problem = Problem('p', question, '')
  return Ask(problem, question, IDS[place], call, 9, 0.5, **more)


class Echo:
  """A rollout that answers the last request first, in capitals."""

  def __init__(self):
    self.seen = []
    self.stop = requests.Stop.ENDED

  def generate(self, asked):
    self.seen += asked
    for request in reversed(asked):
      text = TOKENIZER.decode(request.prompt).upper()
      tokens = np.append(TOKENIZER.encode(text), TOKENIZER.eos_id)
      yield types.SimpleNamespace(
        request=request, tokens=tokens, stop=self.stop
      )


def _by_rollout(rollout):
  def encode(text, images):
    return TOKENIZER.begin(text)

  return writers.by_rollout(rollout, encode, TOKENIZER)


def test_a_rollout_is_asked_as_the_asks_say():
  rollout = Echo()
  ask = _ask('ab', 3, 5, prefix='c', top_p=0.9)
  ((found, written),) = _by_rollout(rollout)([ask])
  assert found is ask
  assert (written.text, written.stop) == ('ABC', StopReason.EOS)
  assert written.length == 4 and written.tokens[-1] == TOKENIZER.eos_id
  (request,) = rollout.seen
  assert (request.group_id, request.sample_index) == (IDS[3], 5)
  assert (request.budget, request.temperature, request.top_p) == (9, 0.5, 0.9)
  assert request.prompt.dtype == np.int32


def test_what_used_up_its_tokens_is_cut():
  rollout = Echo()
  rollout.stop = requests.Stop.EXHAUSTED
  ((_, written),) = _by_rollout(rollout)([_ask('a')])
  assert written.stop is StopReason.MAX_LENGTH


def test_asks_of_the_same_ids_are_told_apart():
  asks = [_ask('a'), _ask('b'), _ask('c', 1)]
  found = {ask: w.text for ask, w in _by_rollout(Echo())(asks)}
  assert [found[ask] for ask in asks] == ['A', 'B', 'C']


@pytest.fixture
def server():
  """Answers by the words of the prompt; remembers what it was asked."""

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      length = int(self.headers['Content-Length'])
      body = json.loads(self.rfile.read(length))
      asked.append((self.path, self.headers['Authorization'], body))
      prompt = body['messages'][-1]['content']
      failing = prompt == 'busy' and len(asked) < 3
      status = 503 if failing else 400 if prompt == 'bad' else 200
      message = dict(content=prompt.upper())
      if prompt == 'reason':
        message['reasoning_content'] = 'hm'
      choice = dict(
        finish_reason='length' if prompt == 'long' else 'stop', message=message
      )
      answer = dict(error='x') if prompt == 'odd' else dict(choices=[choice])
      self.send_response(status)
      self.end_headers()
      self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args):
      pass

  asked = []
  httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  thread = threading.Thread(target=httpd.serve_forever)
  thread.start()
  yield f'http://127.0.0.1:{httpd.server_port}/v1', asked
  httpd.shutdown()
  thread.join()
  httpd.server_close()


def _write(url, asks, **changes):
  """Texts by question."""
  arguments = dict(
    model='m',
    key='secret',
    messages_of=lambda prompt: [dict(role='user', content=prompt)],
    threads=3,
    seconds=5.0,
    seed=1,
  )
  write = writers.by_server(url, **arguments | changes)
  return {ask.question: written for ask, written in write(asks)}


def _call(prompts, call=0):
  return [_ask(prompt, i, call) for i, prompt in enumerate(prompts)]


def test_texts_of_a_server(server):
  url, asked = server
  found = _write(url, _call(['a', 'long', 'reason', 'b']))
  assert {question: w.text for question, w in found.items()} == dict(
    a='A', long='', reason='<think>\nhm\n</think>\n\nREASON', b='B'
  )
  stops = {question: w.stop for question, w in found.items()}
  assert stops.pop('long') is StopReason.MAX_LENGTH
  assert set(stops.values()) == {StopReason.EOS}
  path, key, body = asked[0]
  assert (path, key) == ('/v1/chat/completions', 'Bearer secret')
  assert (body['model'], body['max_tokens'], body['temperature']) == (
    'm',
    9,
    0.5,
  )


def test_every_request_has_a_seed_of_its_own(server):
  url, asked = server

  def seeds(asks):
    del asked[:]
    _write(url, asks)
    return {body['messages'][0]['content']: body['seed'] for *_, body in asked}

  first, second = seeds(_call('abc')), seeds(_call('abc', 1))
  assert len({*first.values(), *second.values()}) == 6
  # The numbers of a call, drawn at once: an ask alone has its own of them.
  rng = streams.rng(1, 'server requests', 0)
  drawn = rng.integers(1 << 31, size=3).tolist()
  assert [first[prompt] for prompt in 'abc'] == drawn
  assert seeds(_call('abc')[2:]) == dict(c=first['c'])


def test_a_busy_server_is_asked_again(server, monkeypatch):
  monkeypatch.setattr(writers, '_WAIT_SECONDS', 0.01)
  url, asked = server
  assert _write(url, _call(['busy']))['busy'].text == 'BUSY'
  assert len(asked) == 3


@pytest.mark.parametrize(
  ('prompt', 'message'), [('bad', '400'), ('odd', 'no chat completion')]
)
def test_what_is_refused_is_not_asked_again(server, prompt, message):
  url, asked = server
  with pytest.raises(writers.ServerError, match=message):
    _write(url, _call([prompt]))
  assert len(asked) == 1


def test_nobody_there(monkeypatch):
  monkeypatch.setattr(writers, '_WAIT_SECONDS', 0.01)
  with pytest.raises(writers.ServerError, match='127.0.0.1:9'):
    _write('http://127.0.0.1:9/v1', _call('a'))


def test_a_rollout_is_shown_pictures_and_a_server_is_not():
  image = ImageRef('ab' * 32, 8, 8, 'drawn')
  ask = _ask('ab')
  seen = dataclasses.replace(ask.problem, images=(image,))
  rollout = Echo()
  list(_by_rollout(rollout)([dataclasses.replace(ask, problem=seen)]))
  assert rollout.seen[0].images == (image,)
  write = writers.by_server('http://nowhere/v1', 'm', '', str, 1, 1.0, 0)
  with pytest.raises(writers.ServerError, match="'p' has pictures"):
    list(write([dataclasses.replace(ask, problem=seen)]))
