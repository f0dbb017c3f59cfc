"""Workers with an OpenAI-compatible endpoint, and how tests ask them.

The policy is the tiny one of `small_engine`; its tokenizer is of bytes, with a
template of a chat.
"""

import http.client
import json

import rollout_servers
import small_engine
import stock_engine

from k15.checkpoints import tokenizer as tokenizer_lib
from k15.serving import server as server_lib
from k15.serving.jetstream_driver import JetStreamDriver
from k15.serving.openai import front as front_lib
from k15.serving.streams import Limits

TOKEN, MODEL = 'a token', 'tiny'
HEADERS = {
  'Authorization': f'Bearer {TOKEN}', 'Content-Type': 'application/json'
}  # fmt: skip


class ChatBytes(tokenizer_lib.ByteTokenizer):
  """Bytes, with a template: each message is its first letter and a line."""

  has_chat_template = True

  def render(self, messages):
    if messages[-1]['role'] == 'assistant':
      raise ValueError('the chat template refuses: nobody asks')
    return ''.join(f'{m["role"][0]}{m["content"]}\n' for m in messages) + 'a'

  def encode_rendered(self, text):
    return self.encode(text)


def start(num_slots=3, tokens_per_call=4, seconds=60.0, params=True, **limits):
  """A server with weights of version 3, its front in `server.front`."""
  decoder = small_engine.make_decoder(num_slots, tokens_per_call)
  engine = stock_engine.make_engine(decoder)
  driver = JetStreamDriver([engine], [engine], [None], [None])
  server = server_lib.RolloutServer(
    driver, decoder, rollout_servers.layout(), limits=Limits(**limits)
  )
  server.front = front_lib.Front(
    server.served, ChatBytes(), MODEL, '127.0.0.1', 0, TOKEN, seconds=seconds
  )
  server.add_front(server.front)
  if params:
    server.keeper.begin_with(small_engine.make_params(), 3)
  server.start()
  return server


def ask(server, path, body=None, headers=HEADERS, method=None):
  """Status, headers and body of an answer; `body` is JSON, or bytes."""
  connection = http.client.HTTPConnection(
    '127.0.0.1', server.front.port, timeout=60
  )
  data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
  method = method or ('GET' if body is None else 'POST')
  try:
    connection.request(method, path, data, headers)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()
  finally:
    connection.close()


def complete(server, prompt='2+2=', **fields):
  """The object of a completion."""
  status, _, data = ask(server, '/v1/completions', dict(prompt=prompt) | fields)
  assert status == 200, data
  return json.loads(data)


def chat(server, content='hi', **fields):
  """The object of a chat's completion."""
  messages = [dict(role='user', content=content)]
  status, _, data = ask(
    server, '/v1/chat/completions', dict(messages=messages) | fields
  )
  assert status == 200, data
  return json.loads(data)


def events(server, path, **fields):
  """The objects of a stream, whose end is checked."""
  status, headers, data = ask(server, path, fields | dict(stream=True))
  assert status == 200, data
  assert headers['content-type'].startswith('text/event-stream')
  *parts, end, nothing = data.decode().split('\n\n')
  assert (end, nothing) == ('data: [DONE]', '')
  return [json.loads(part.removeprefix('data: ')) for part in parts]
