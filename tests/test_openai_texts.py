"""A server that speaks the protocol, and what is made of what it says."""

import http.server
import json
import threading

import pytest

from k15.rollout import openai_texts


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


def _generate(url, **changes):
  arguments = dict(
    model='m',
    key='secret',
    messages_of=lambda prompt: [dict(role='user', content=prompt)],
    max_tokens=9,
    temperature=0.5,
    threads=3,
    seconds=5.0,
    seed=1,
  )
  return openai_texts.make_generate(url, **arguments | changes)


def test_texts_in_order(server):
  url, asked = server
  generate = _generate(url)
  assert generate(['a', 'long', 'reason', 'b']) == [
    'A', '', '<think>\nhm\n</think>\n\nREASON', 'B'
  ]  # fmt: skip
  path, key, body = asked[0]
  assert (path, key) == ('/v1/chat/completions', 'Bearer secret')
  assert (body['model'], body['max_tokens'], body['temperature']) == (
    'm',
    9,
    0.5,
  )


def test_every_request_has_a_seed_of_its_own(server):
  url, asked = server
  generate = _generate(url)
  generate(['a', 'b'])
  generate(['a', 'b'])
  seeds = {body['seed'] for _, _, body in asked}
  assert len(seeds) == 4
  _generate(url, first_call=1)(['a', 'b'])
  assert {body['seed'] for _, _, body in asked} == seeds


def test_a_busy_server_is_asked_again(server, monkeypatch):
  monkeypatch.setattr(openai_texts, '_WAIT_SECONDS', 0.01)
  url, asked = server
  assert _generate(url)(['busy']) == ['BUSY']
  assert len(asked) == 3


@pytest.mark.parametrize(
  ('prompt', 'message'), [('bad', '400'), ('odd', 'no chat completion')]
)
def test_what_is_refused_is_not_asked_again(server, prompt, message):
  url, asked = server
  with pytest.raises(openai_texts.ServerError, match=message):
    _generate(url)([prompt])
  assert len(asked) == 1


def test_nobody_there(monkeypatch):
  monkeypatch.setattr(openai_texts, '_WAIT_SECONDS', 0.01)
  with pytest.raises(openai_texts.ServerError, match='127.0.0.1:9'):
    _generate('http://127.0.0.1:9/v1')(['a'])
