"""A worker as OpenAI's API describes one: over sockets, on the tiny policy."""

import json
import socket
import threading
import time

import numpy as np
import openai_servers
import pytest
import rollout_servers
import small_engine

from k15.model import heads
from k15.rollout.requests import Request, Stop
from k15.serving import rollout_pb2 as pb
from k15.serving.openai import front as front_lib
from k15.serving.openai import listener as listener_lib

ask, complete = openai_servers.ask, openai_servers.complete
COLUMNS = small_engine.COLUMNS
PROMPT = [50, 43, 50, 61]  # '2+2='


@pytest.fixture(scope='module')
def server():
  server = openai_servers.start(requests=64, message_bytes=1 << 16)
  yield server
  server.stop()


def refused(server, status, path='/v1/completions', headers=None, **fields):
  """The error of a call, whose object is OpenAI's."""
  given, found, data = ask(
    server, path, fields, headers or openai_servers.HEADERS
  )
  assert given == status, data
  error = json.loads(data)['error']
  assert set(error) == {'message', 'type', 'param', 'code'}
  assert found['content-type'] == 'application/json'
  return error


def sampled(budget, sample=0, temperature=1.0):
  """Tokens and log-probabilities as the engine itself has them, of seed 7."""
  request = Request(
    0, sample, np.array(PROMPT, np.int32), np.zeros(0, np.int32), budget,
    temperature, seed=7,
  )  # fmt: skip
  server = openai_servers.start()
  chunks, over = [], threading.Event()

  def deliver(chunk):
    chunks.append(chunk)
    if chunk.stop is not Stop.RUNNING:
      over.set()

  server.driver.submit(request, deliver)
  assert over.wait(60)
  server.stop()
  return [np.concatenate([getattr(c, x) for c in chunks])
          for x in ('tokens', 'logprobs')]  # fmt: skip


def test_a_completion_is_what_the_engine_samples(server):
  found = complete(server, n=2, max_tokens=9, seed=7, logprobs=0)
  assert found['object'] == 'text_completion' and found['model'] == 'tiny'
  assert found['system_fingerprint'] == 'version-3'
  assert found['usage'] == dict(
    prompt_tokens=4, completion_tokens=18, total_tokens=22
  )
  for index, choice in enumerate(found['choices']):
    tokens, logprobs = sampled(9, index)
    assert choice['index'] == index and choice['finish_reason'] == 'length'
    assert choice['text'] == small_engine.TOKENIZER.decode(tokens)
    told = choice['logprobs']
    assert ''.join(told['tokens']) == choice['text']
    np.testing.assert_array_equal(
      np.array(told['token_logprobs'], np.float32), logprobs
    )
  # Twice the same, and another with another seed; tokens as well as text.
  again = complete(server, PROMPT, n=2, max_tokens=9, seed=7, logprobs=0)
  assert again['choices'] == found['choices']
  other = complete(server, max_tokens=9, seed=8)
  assert other['choices'][0]['text'] != found['choices'][0]['text']


def test_a_stream_is_the_same_in_pieces(server):
  whole = complete(server, n=2, max_tokens=9, seed=7, logprobs=0)
  events = openai_servers.events(
    server, '/v1/completions', prompt='2+2=', n=2, max_tokens=9, seed=7,
    logprobs=0, stream_options=dict(include_usage=True),
  )  # fmt: skip
  *pieces, last = events
  assert last['choices'] == [] and last['usage'] == whole['usage']
  for choice in whole['choices']:
    own = [
      p['choices'][0] for p in pieces
      if p['choices'][0]['index'] == choice['index']
    ]  # fmt: skip
    assert ''.join(p['text'] for p in own) == choice['text']
    told = [x for p in own for x in p['logprobs']['token_logprobs']]
    assert told == choice['logprobs']['token_logprobs']
    ends = [p['finish_reason'] for p in own]
    assert ends == [None] * (len(own) - 1) + ['length'] and len(own) >= 2


def test_a_chat_and_its_stream(server):
  found = openai_servers.chat(server, max_tokens=6, seed=7)
  (choice,) = found['choices']
  assert found['object'] == 'chat.completion'
  assert choice['message']['role'] == 'assistant'
  assert found['usage']['prompt_tokens'] == len('uhi\na')
  messages = [dict(role='user', content='hi')]
  events = openai_servers.events(
    server, '/v1/chat/completions', messages=messages, max_tokens=6, seed=7
  )
  deltas = [event['choices'][0]['delta'] for event in events]
  assert events[0]['object'] == 'chat.completion.chunk'
  assert deltas[0]['role'] == 'assistant' and 'role' not in deltas[1]
  text = ''.join(delta['content'] for delta in deltas)
  assert text == choice['message']['content']
  # Without a maximum, as many as fit.
  longest = openai_servers.chat(server, seed=7)['usage']
  assert longest['total_tokens'] == COLUMNS


def test_a_text_ends_a_response_and_frees_its_slot(server):
  whole = complete(server, max_tokens=20, temperature=0)['choices'][0]['text']
  stop = whole[2]
  left = whole[: whole.index(stop)]
  found = complete(server, max_tokens=20, temperature=0, stop=[stop, 'never'])
  assert found['choices'][0]['text'] == left
  assert found['choices'][0]['finish_reason'] == 'stop'
  assert found['usage']['completion_tokens'] < 20
  wait_for(lambda: server.served.load.requests == 0)


def test_an_echo_has_the_log_probabilities_of_the_prompt(server):
  """Against what training computes of the same row."""
  found = complete(
    server, [PROMPT, PROMPT[:2]], echo=True, logprobs=2, max_tokens=1,
    temperature=0,
  )  # fmt: skip
  first, second = (choice['logprobs'] for choice in found['choices'])
  made = int(sampled(1, temperature=0.0)[0][0])
  row = np.array([[*PROMPT, made]], np.int32)
  columns = np.arange(row.shape[1])[None]
  expected, _ = heads.token_logprobs(
    small_engine.CONFIG, small_engine.make_params(), row, columns,
    np.ones_like(row),
  )  # fmt: skip
  assert first['token_logprobs'][0] is None and first['top_logprobs'][0] is None
  np.testing.assert_allclose(
    first['token_logprobs'][1:], expected[0, 1:], atol=1e-5
  )
  assert found['choices'][0]['text'].startswith('2+2=')
  assert first['text_offset'][:5] == [0, 1, 2, 3, 4]
  # The greedy token is the likeliest, which harnesses ask for.
  tops = first['top_logprobs'][-1]
  assert max(tops.values()) == first['token_logprobs'][-1]
  assert len(second['token_logprobs']) == 3
  # Without a response, the prompt alone.
  alone = complete(server, PROMPT, echo=True, logprobs=1, max_tokens=0)
  told = alone['choices'][0]['logprobs']['token_logprobs']
  np.testing.assert_allclose(told[1:], first['token_logprobs'][1:4], atol=1e-6)
  assert alone['usage']['completion_tokens'] == 0


def test_who_may_ask(server):
  for headers in ({}, {'Authorization': 'Bearer wrong'}):
    headers = openai_servers.HEADERS | {'Authorization': ''} | headers
    assert 'no valid token' in refused(server, 401, headers=headers)['message']
    assert ask(server, '/v1/models', headers=headers)[0] == 401
    assert ask(server, '/health', headers=headers)[0] == 200
  plain = openai_servers.HEADERS | {'Content-Type': 'text/plain'}
  assert 'text/plain' in refused(server, 415, headers=plain)['message']
  assert refused(server, 404, '/v1/other')['message'] == (
    "POST '/v1/other' is not here"
  )
  assert ask(server, '/v1/completions')[0] == 405
  (entry,) = json.loads(ask(server, '/v1/models')[2])['data']
  assert (entry['id'], entry['max_model_len']) == ('tiny', COLUMNS)


def test_what_is_too_much_is_refused_with_the_numbers(server):
  long = refused(server, 400, prompt='a' * 30, max_tokens=3)
  assert long['message'] == (
    'a prompt of 30 tokens and 3 to be made: this model takes 32 together'
  )
  assert refused(server, 404, prompt='a', model='other')['code'] == (
    'model_not_found'
  )
  body = refused(server, 413, prompt='a' * (1 << 16))
  assert body['message'] == 'a body of more than 65536 bytes'
  assert 'id 320, outside' in refused(server, 400, prompt=[320])['message']
  many = refused(server, 400, prompt=['a'] * 2, n=40)
  assert '2 prompts of 40 responses' in many['message']
  status, headers, _ = crowd(server)
  assert (status, headers['retry-after']) == (429, '1')
  wait_for(lambda: server.served.load.requests == 0)


def crowd(server):
  """What one more is told while all places are taken."""
  server.driver.command(lambda scheduler: scheduler.pause()).result()
  fields = dict(prompt='a', n=60, max_tokens=2)
  thread = threading.Thread(target=lambda: complete(server, **fields))
  thread.start()
  wait_for(lambda: server.served.load.requests == 60)
  found = ask(server, '/v1/completions', fields)
  server.driver.command(lambda scheduler: scheduler.unpause()).result()
  thread.join()
  return found


def test_a_client_that_goes_away_frees_its_place(server):
  server.driver.command(lambda scheduler: scheduler.pause()).result()
  data = json.dumps(dict(prompt='a', n=5, max_tokens=20)).encode()
  with socket.create_connection(('127.0.0.1', server.front.port)) as client:
    client.sendall(head(len(data)) + data)
    wait_for(lambda: server.served.load.requests == 5)
  wait_for(lambda: server.served.load.requests == 0)
  server.driver.command(lambda scheduler: scheduler.unpause()).result()
  # Of a seed whose response is known not to end at once.
  found = complete(server, max_tokens=2, seed=7)
  assert found['usage']['completion_tokens'] == 2


def head(length):
  return (
    'POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type:'
    f' application/json\r\nAuthorization: Bearer {openai_servers.TOKEN}\r\n'
    f'Content-Length: {length}\r\n\r\n'
  ).encode()


def asking(server):
  """A thread that waits for an answer, and where that will be."""
  found = []
  thread = threading.Thread(
    target=lambda: found.append(
      ask(server, '/v1/completions', dict(prompt='a'))
    )
  )
  thread.start()
  return thread, found


def test_what_takes_too_long_is_ended_and_so_is_all_at_the_end():
  server = openai_servers.start(seconds=0.2)
  server.driver.command(lambda scheduler: scheduler.pause()).result()
  assert '0.2 seconds' in refused(server, 504, prompt='a')['message']
  server.stop()
  server = openai_servers.start()
  server.driver.command(lambda scheduler: scheduler.pause()).result()
  thread, found = asking(server)
  wait_for(lambda: server.served.load.requests)
  server.stop()
  thread.join()
  assert found[0][0] == 503 and b'shutting down' in found[0][2]


def test_one_engine_with_grpc_and_its_interrupts(server):
  """The calls of a trainer see these requests, and end them."""
  server.driver.command(lambda scheduler: scheduler.pause()).result()
  thread, found = asking(server)
  stub = rollout_servers.stub(server)
  wait_for(lambda: stub.Stats(pb.Nothing()).requests == 1)
  assert stub.Interrupt(pb.Names()).count == 1
  thread.join()
  assert found[0][0] == 503 and b'interrupted' in found[0][2]
  server.driver.command(lambda scheduler: scheduler.unpause()).result()


def test_without_weights_and_without_a_token():
  server = openai_servers.start(params=False)
  assert ask(server, '/health')[0] == 503
  assert json.loads(ask(server, '/v1/models')[2])['data'] == []
  assert 'no weights' in refused(server, 503, prompt='a')['message']

  def front(host='127.0.0.1', token='', **settings):
    return front_lib.Front(
      server.served, openai_servers.ChatBytes(), 'a', host, 0, token, **settings
    )

  with pytest.raises(ValueError, match='needs a token: K15_ROLLOUT_TOKEN'):
    front()
  with pytest.raises(ValueError, match="listen on '0.0.0.0'"):
    front('0.0.0.0', 'a token', is_open=True)
  with pytest.raises(ValueError, match='-1 seconds'):
    front(token='a', seconds=-1)
  with pytest.raises(OSError, match=f'127.0.0.1:{server.front.port}'):
    listener_lib.Listener(None, '127.0.0.1', server.front.port)
  server.stop()


def test_a_connection_that_asks_nothing_is_closed():
  server = openai_servers.start()
  listener = server.front._listener
  listener._idle = 0.2  # seconds
  with socket.create_connection(('127.0.0.1', server.front.port)) as client:
    client.sendall(b'GET /health HTTP/1.1\r\nX-A')
    client.settimeout(30)
    assert client.recv(10) == b''
  server.stop()


def wait_for(condition):
  deadline = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.01)
