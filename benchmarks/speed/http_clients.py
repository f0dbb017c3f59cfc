"""Clients of an OpenAI-compatible endpoint, as many as are told, at once.

A process of its own, which needs nothing but Python, so that what clients cost
is theirs: `python -m benchmarks.speed.http_clients PORT`.
"""

import asyncio
import json
import sys
import time

TOKEN = 'of-a-benchmark'
PROMPT = 'What is 2 + 2?  Think.\n'


def message(fields: dict, path: str = '/v1/completions') -> bytes:
  """A request as it is sent."""
  data = json.dumps(fields).encode()
  return (
    f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type:'
    f' application/json\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length:'
    f' {len(data)}\r\n\r\n'
  ).encode() + data


async def _one_client(port, number, rounds, tokens, is_stream):
  """Asks one after the other over one connection; tokens it got."""
  reader, writer = await asyncio.open_connection('127.0.0.1', port)
  made = 0
  for i in range(rounds):
    fields = dict(prompt=PROMPT, max_tokens=tokens, seed=number + 1000 * i)
    if is_stream:
      fields |= dict(stream=True, stream_options=dict(include_usage=True))
    writer.write(message(fields))
    head = await reader.readuntil(b'\r\n\r\n')
    if not head.startswith(b'HTTP/1.1 200'):
      raise RuntimeError(head.decode(errors='replace'))
    if is_stream:
      made += await _read_events(reader)
    else:
      size = int(head.lower().split(b'content-length: ')[1].split(b'\r')[0])
      made += json.loads(await reader.readexactly(size))['usage'][
        'completion_tokens'
      ]
  writer.close()
  return made


async def _read_events(reader):
  """To the end of a chunked answer; the tokens that its last piece counts."""
  made = 0
  while size := int(await reader.readline(), 16):
    data = await reader.readexactly(size + 2)
    for line in data.split(b'\n\n'):
      if b'"usage"' in line:
        made = json.loads(line.strip()[6:])['usage']['completion_tokens']
  await reader.readline()
  return made


def serve_commands(port: int) -> None:
  """Runs clients as standard input says: a JSON object a line."""

  async def run(count, **settings):
    clients = [_one_client(port, i, **settings) for i in range(count)]
    return sum(await asyncio.gather(*clients))

  while line := input():
    start = time.monotonic()
    tokens = asyncio.run(run(**json.loads(line)))
    seconds = time.monotonic() - start
    print(json.dumps(dict(tokens=tokens, seconds=seconds)), flush=True)


if __name__ == '__main__':
  serve_commands(int(sys.argv[1]))
