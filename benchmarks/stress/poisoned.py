"""Poisoned requests against the OpenAI-compatible endpoint of a worker.

    python -m benchmarks.stress.poisoned [--requests 1000]

What is no HTTP, no JSON or no request, what asks for too much, what leaves in
the middle or never comes to an end, from several threads.  Meanwhile neighbours
ask honestly, and have to get what they got alone, token by token, and in time.
In the end nothing may be left: no request, no connection, no file, no thread.
The last line is RESULT and a JSON object; `broken` says what went wrong, and
the exit status is 1 if anything did.
"""

import argparse
import json
import os
import random
import socket
import sys
import threading
import time

from benchmarks import together
from benchmarks.speed import endpoint_side as side
from benchmarks.speed import http_clients

# What may be said to such a request; 200, for some are only odd.
_ANSWERS = {200, 400, 401, 404, 405, 408, 413, 415, 429, 431}
_HONEST = dict(prompt=http_clients.PROMPT, max_tokens=24, temperature=0.7)
_LATE_SECONDS = 60.0  # of a neighbour's answer, on a busy machine
_ODD = (
  None, True, -1, 0, 1.5, 10**30, -(2**63), 1e308, 'a', '\ud800', '', [], {},
  [None], {'a': []}, 'x' * 5000, [[[[]]]], '{{ 7 * 7 }}', '<|im_end|>', '\0',
)  # fmt: skip
_FIELDS = (
  'prompt', 'messages', 'model', 'n', 'max_tokens', 'temperature', 'top_p',
  'seed', 'stop', 'stream', 'stream_options', 'logprobs', 'echo', 'best_of',
  'logit_bias', 'tools', 'response_format', 'suffix', 'max_completion_tokens',
  'top_logprobs', 'min_p', '__class__', 'user',
)  # fmt: skip


def odd_fields(rng):
  """A request some of whose fields have values of any kind."""
  fields = dict(prompt='a', max_tokens=4)
  for _ in range(rng.randint(1, 4)):
    fields[rng.choice(_FIELDS)] = rng.choice(_ODD)
  return http_clients.message(fields)


def odd_chat(rng):
  """The same of a chat."""
  message = dict(role='user', content='a')
  message[rng.choice(['role', 'content', 'name', 'x'])] = rng.choice(_ODD)
  part = dict(
    type=rng.choice(['text', 'image_url', 'x']), text=rng.choice(_ODD)
  )
  part['image_url'] = rng.choice(
    [
      *_ODD,
      dict(url='http://127.0.0.1:1/a'),
      dict(url='data:image/png;base64,A'),
    ]
  )
  several = [message, dict(role='user', content=[part])]
  rng.shuffle(several)
  many = rng.choice([1, 1, 300])  # parts, or messages
  if rng.random() < 0.5:
    several[0]['content'] = [part] * many
    many = 1
  return http_clients.message(
    dict(messages=several * many), '/v1/chat/completions'
  )


def too_much(rng):
  """What is well-formed and asks for more than there is."""
  fields = rng.choice(
    [
      dict(n=128, max_tokens=10**6),
      dict(prompt='a' * 10**6),
      dict(prompt=[1] * 10**5),
      dict(prompt=[10**6]),
      dict(prompt=[[1]] * 513),
      dict(prompt=['a'] * 512, n=128),
      dict(prompt='a' * 90, logprobs=20, echo=True, n=8),
      dict(stop=['\n' * 127 + chr(97 + i) for i in range(16)], max_tokens=64),
      dict(temperature=1e-45),
      dict(top_p=1e-45, n=4),
    ]
  )
  return http_clients.message(dict(prompt='a', max_tokens=8) | fields)


def no_json(rng):
  """Bodies that no parser should fall over."""
  body = rng.choice(
    [
      b'', b'{', b'[' * 200_000, b'{"a":' * 50_000, b'\xff\xfe', b'nul',
      b'{"n": NaN}', b'{"n": ' + b'9' * 100_000 + b'}', os.urandom(2000),
      b'{"prompt": "\\ud800", "max_tokens": 2, "echo": true}',
    ]
  )  # fmt: skip
  head, _, _ = http_clients.message({}).partition(b'Content-Length')
  return head + b'Content-Length: %d\r\n\r\n' % len(body) + body


def no_http(rng):
  """What is no request, or one of another kind."""
  whole = http_clients.message(dict(prompt='a', max_tokens=2))
  head = whole.partition(b'\r\n\r\n')[0]
  return rng.choice(
    [
      os.urandom(500),
      b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + os.urandom(200),
      b'GET /v1/completions HTTP/1.1\r\nHost: a\r\n\r\n',
      b'POST /v1/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n',
      b'GET / HTTP/1.1\r\nX: ' + b'a' * 200_000 + b'\r\n\r\n',
      whole.replace(http_clients.TOKEN.encode(), b'guessed'),
      whole.replace(b'application/json', b'text/plain'),
      whole.replace(b'Content-Length: ', b'Content-Length: -'),
      whole.replace(b'Content-Length: ', b'Content-Length: 9999999999'),
      head + b'\r\nContent-Length: 3\r\n\r\n{}}',
      head.replace(b'Content-Length', b'X')
      + b'\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n',
      whole.replace(b'/v1/completions', b'/v1/' + b'a' * 5000),
      whole * 20,  # one behind the other, without waiting
    ]
  )


_MAKERS = (odd_fields, odd_chat, too_much, no_json, no_http)
_WAYS = ('read', 'read', 'read', 'leave', 'cut', 'hang', 'deaf')


class Poison:
  """Sends what it is told, in one way or another; notes what breaks.

  Attributes:
    broken: sentences.
    counts: answers by their status, and ways in which none was waited for.
  """

  def __init__(self, port):
    self.port, self.broken, self.counts = port, [], {}
    self._held, self._lock = [], threading.Lock()

  def send(self, number):
    """One request: of this number, always the same."""
    rng = random.Random(number)
    data, way = rng.choice(_MAKERS)(rng), rng.choice(_WAYS)
    if way == 'deaf':  # A long answer that nobody reads.
      data = http_clients.message(
        dict(prompt='a', max_tokens=90, n=16, stream=True, logprobs=0)
      )
    client = socket.create_connection(('127.0.0.1', self.port), 30)
    client.settimeout(_LATE_SECONDS)
    try:
      client.sendall(data[: rng.randrange(len(data))] if way == 'cut' else data)
    except OSError:  # It was refused before it was whole.
      way = 'read' if way == 'read' else 'leave'
    if way in ('hang', 'deaf'):
      with self._lock:
        self._held.append(client)
        if len(self._held) > 64:  # Some leave, others come.
          self._held.pop(0).close()
    elif way == 'read':
      way = self._status(client, number)
    client.close() if way not in ('hang', 'deaf') else None
    with self._lock:
      self.counts[str(way)] = self.counts.get(str(way), 0) + 1

  def _status(self, client, number):
    try:
      client.shutdown(socket.SHUT_WR) if number % 3 == 0 else None
      data = client.recv(1 << 16)
    except TimeoutError:
      # It waits for the rest of a body, as it should, for a while.
      return 'waits'
    except OSError:
      return 'closed'
    if not data:
      return 'closed'
    status = int(data.split(b' ', 2)[1])
    if status not in _ANSWERS:
      with self._lock:
        self.broken.append(f'{number}: {data[:500]!r}')
    return status

  def close(self):
    """Lets go of what hangs."""
    for client in self._held:
      client.close()


class Neighbours:
  """Threads that ask honestly all the while.

  Attributes:
    count, slowest: answers, and seconds of the slowest one.
    hurt: sentences.
  """

  def __init__(self, port, number=2):
    self.port, self.count, self.slowest, self.hurt = port, 0, 0.0, []
    self._expected = {seed: self.ask(seed) for seed in range(3)}
    self._over = threading.Event()
    self._threads = [threading.Thread(target=self._run) for _ in range(number)]

  def start(self):
    """Begins to ask."""
    for thread in self._threads:
      thread.start()

  def stop(self):
    """Ends once all have their answers."""
    self._over.set()
    for thread in self._threads:
      thread.join()

  def ask(self, seed):
    """Status and text of an honest request."""
    with socket.create_connection(('127.0.0.1', self.port), 30) as client:
      client.settimeout(_LATE_SECONDS)
      data = http_clients.message(_HONEST | dict(seed=seed))
      client.sendall(data.replace(b'Host:', b'Connection: close\r\nHost:', 1))
      answer = b''
      while part := client.recv(1 << 16):
        answer += part
    head, _, body = answer.partition(b'\r\n\r\n')
    status = int(head.split(b' ', 2)[1])
    if status != 200:
      return status, body.decode(errors='replace')
    return status, json.loads(body)['choices'][0]['text']

  def _run(self):
    while not self._over.is_set():
      seed, start = self.count % 3, time.monotonic()
      try:
        found = self.ask(seed)
      except (OSError, ValueError, IndexError) as error:
        found = repr(error)
      if found[0] == 429:  # It is full: an honest client asks again.
        time.sleep(0.05)
        continue
      self.slowest = max(self.slowest, time.monotonic() - start)
      self.count += 1
      if found != self._expected[seed]:
        self.hurt.append(f'{seed}: {found} and not {self._expected[seed]}')


def residue(server, front):
  """What is left of requests."""
  connections = front._listener._server.server_state.connections
  return dict(
    requests=server.served.load.requests,
    tokens=server.served.load.tokens,
    connections=len(connections),
    bytes=front._app._bytes,
    files=len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc') else 0,
    threads=sum(
      # Those of pools come when they are first needed, and stay.
      not thread.name.startswith(('bodies', 'ThreadPoolExecutor'))
      for thread in threading.enumerate()
    ),
  )


def attack(server, front, count, threads=8):
  """Sends so many poisoned requests; what came of it."""
  neighbours, poison = Neighbours(front.port), Poison(front.port)
  before = _settled(server, front, None)
  neighbours.start()
  numbers, lock = iter(range(count)), threading.Lock()

  def run():
    while True:
      with lock:
        number = next(numbers, None)
      if number is None:
        return
      if not (number + 1) % 100:
        print(f'  {number + 1} of {count}', file=sys.stderr, flush=True)
      try:
        poison.send(number)
      except OSError as error:
        poison.broken.append(f'{number}: {error!r}')

  several = [threading.Thread(target=run) for _ in range(threads)]
  for thread in several:
    thread.start()
  for thread in several:
    thread.join()
  neighbours.stop()
  poison.close()
  after = _settled(server, front, before)
  broken = poison.broken + [f'neighbour {hurt}' for hurt in neighbours.hurt]
  broken += [
    f'{kind} left: {after[kind]} were {before[kind]}'
    for kind in before
    if after[kind] > before[kind]
  ]
  if neighbours.ask(0)[0] != 200:
    broken.append('no answer in the end')
  return dict(
    poisoned=count,
    answers=dict(sorted(poison.counts.items())),
    neighbours=neighbours.count,
    slowest_neighbour_seconds=round(neighbours.slowest, 3),
    broken=broken,
  )


def _settled(server, front, wanted):
  """What is left once it no longer becomes less."""
  for _ in range(300):
    found = residue(server, front)
    if wanted and all(found[kind] <= wanted[kind] for kind in wanted):
      break
    if not wanted and not found['requests'] + found['connections']:
      break
    time.sleep(0.1)
  return found


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--requests', type=int, default=1000)
  parser.add_argument('--threads', type=int, default=8)
  args = parser.parse_args(argv)
  server, front = side.make_server(
    side.shape(64, 2), slots=16, columns=128, tokens_per_call=8
  )
  try:
    result = attack(server, front, args.requests, args.threads)
  finally:
    server.stop()
  for sentence in result['broken'][:20]:
    print(sentence[:600])
  together.print_result(result)
  sys.exit(bool(result['broken']))


if __name__ == '__main__':
  main()
