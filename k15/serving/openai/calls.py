"""One call: its requests grow, and its answer is written, whole or in pieces.

It ends with its answer, with its time, or when the client goes away, whatever
comes first; whatever of it is then left is cancelled.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import numpy as np

from k15.rollout.requests import NotFinite, Request, Stop
from k15.serving.openai import answers
from k15.serving.openai.body import CHAT
from k15.serving.openai.body import Asked
from k15.serving.openai.choices import NOT_FINITE
from k15.serving.openai.choices import Choice
from k15.serving.openai.choices import Lost
from k15.serving.openai.choices import Pieces
from k15.serving.openai.flight import Flight
from k15.serving.openai.flight import Scorer
from k15.serving.openai.prompts import Prompt
from k15.serving.service import Served
from k15.serving.wire import Refused

Send = Callable[[dict[str, Any]], Awaitable[None]]
STATUS = {
  grpc.StatusCode.INVALID_ARGUMENT: 400,
  grpc.StatusCode.FAILED_PRECONDITION: 409,
  grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
  grpc.StatusCode.UNAVAILABLE: 503,
}
_RETRY_SECONDS = '1'  # what who was refused for lack of room is told
_LAST_WORD_SECONDS = 1.0  # to say why a call ends, to who may not listen


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
  """What is answered.

  Attributes:
    asked, head: of it.
    prompts: at least one.
    requests: `asked.n` of each prompt, in order.
  """

  asked: Asked
  head: answers.Head
  prompts: Sequence[Prompt]
  requests: Sequence[Request]

  def prompt_of(self, index: int) -> Prompt:
    """Of the response with this index."""
    return self.prompts[index // self.asked.n]


class Answer:
  """An ASGI application that answers one call.

  Args:
    call: what is asked.
    served: by what.
    tokenizer: of the model.
    scorer: of all calls.
    seconds: that it may take.
    flights: where it can be found while it runs.
  """

  def __init__(
    self,
    call: Call,
    served: Served,
    tokenizer: Any,
    scorer: Scorer,
    seconds: float,
    flights: set[Flight],
  ):
    self._call, self._served, self._tokenizer = call, served, tokenizer
    self._scorer, self._seconds, self._flights = scorer, seconds, flights
    self._choices = {
      request: Choice(index, tokenizer, call.asked.stops)
      for index, request in enumerate(call.requests)
    }

  async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
    """Answers, or stops when nobody listens any more."""
    del scope
    work = asyncio.ensure_future(self._work(_Out(send)))
    gone = asyncio.ensure_future(_gone(receive))
    tasks = work, gone
    # A little more than its time, in which it may say that it is over.
    limit = self._seconds + 2 * _LAST_WORD_SECONDS
    try:
      await asyncio.wait(
        tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED
      )
    finally:
      for task in tasks:
        task.cancel()
      await asyncio.gather(*tasks, return_exceptions=True)

  async def _work(self, out):
    try:
      async with asyncio.timeout(self._seconds):
        await self._answer(out)
      return
    except TimeoutError:
      status, sentence = 504, f'more than {self._seconds} seconds'
    except Refused as refused:
      status, sentence = STATUS.get(refused.code, 500), str(refused)
    except Lost as error:
      status, sentence = 503, str(error)
    except NotFinite as error:
      status, sentence = 500, str(error)
    except Exception as error:  # The border of a call.
      status, sentence = 500, f'the worker failed: {type(error).__name__}'
    with contextlib.suppress(TimeoutError):
      async with asyncio.timeout(_LAST_WORD_SECONDS):
        await out.fail(status, sentence)

  async def _answer(self, out):
    flight = Flight(self._served)
    self._flights.add(flight)
    try:
      if self._call.asked.is_stream:
        await self._stream(flight, out)
      else:
        await self._whole(flight, out)
    finally:
      self._flights.discard(flight)
      flight.cancel()

  async def _grow(self, flight, on_deltas):
    """Lets responses grow; `on_deltas` gets [(choice, delta)] as they come."""
    self._put_pictures()
    flight.submit(self._call.requests)
    left = len(self._choices)
    while left:
      deltas = []
      for chunk in await flight.chunks():
        choice = self._choices[chunk.request]
        if choice.finish:  # The rest of what ended at a text, and is cancelled.
          continue
        deltas.append((choice, choice.add(chunk)))
        if choice.finish:
          left -= 1
          if chunk.stop is Stop.RUNNING:
            flight.cancel([chunk.request])
      await on_deltas(deltas)

  def _put_pictures(self):
    # No other call runs from here until the requests count as those that show
    # them: none of their room is given away.
    shown = [
      (image, pixels)
      for prompt in self._call.prompts
      for image, pixels in zip(prompt.images, prompt.pixels, strict=True)
    ]
    own = {image.digest for image, _ in shown}
    for image, pixels in shown:
      self._served.pictures.put(
        image, pixels, lambda: self._served.load.digests() | own
      )

  async def _whole(self, flight, out):
    asked, head, requests = (
      self._call.asked,
      self._call.head,
      self._call.requests,
    )

    async def wait(deltas):
      del deltas

    if asked.max_tokens == 0:
      self._served.load.add(requests)
    else:
      await self._grow(flight, wait)
    try:
      made = []
      for choice in self._choices.values():
        told = None
        if asked.alternatives is not None:
          told = await self._told(choice)
        prompt = self._call.prompt_of(choice.index)
        text = self._echo(prompt) + choice.text
        finish = choice.finish or 'length'
        made.append(answers.choice(head.kind, choice.index, text, told, finish))
    finally:
      if asked.max_tokens == 0:
        self._served.load.remove(requests)
    whole = head.to_object(made, is_piece=False) | dict(usage=self._usage())
    await out.write(answers.to_json(whole))

  async def _stream(self, flight, out):
    asked, head = self._call.asked, self._call.head
    pieces = {c: Pieces(self._tokenizer) for c in self._choices.values()}
    begun = set()

    async def write(deltas):
      events = []
      for choice, delta in deltas:
        told, text, is_first = None, delta.text, choice not in begun
        if asked.alternatives is not None:
          told = answers.Told(
            pieces[choice].add(delta.tokens, bool(delta.finish)),
            delta.logprobs,
            None,
            delta.offset,
          )
        elif not (text or delta.finish or is_first):
          continue  # Within a character, or perhaps a text that ends it.
        if is_first:
          text = self._echo(self._call.prompt_of(choice.index)) + text
        begun.add(choice)
        piece = answers.piece(
          head.kind, choice.index, text, told, delta.finish, is_first
        )
        events.append(answers.to_event(head.to_object([piece], is_piece=True)))
      if events:
        await out.event(b''.join(events))

    await self._grow(flight, write)
    if asked.counts_at_end:
      last = head.to_object([], is_piece=True) | dict(usage=self._usage())
      await out.event(answers.to_event(last))
    await out.event(answers.END, is_last=True)

  async def _told(self, choice):
    """Of a response that is whole, and of its prompt if that is a part."""
    prompt = self._call.prompt_of(choice.index).tokens
    row = np.concatenate([prompt, np.array(choice.tokens, np.int32)])
    scores = None
    if self._call.asked.is_scored:
      scores = await self._scorer.score(row, self._call.asked.temperature)
    # Texts of thousands of alternatives keep nobody else waiting on a thread.
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(
      None, self._tell, choice, len(prompt), row, scores
    )

  def _tell(self, choice, prompt_tokens, row, scores):
    asked, pieces = self._call.asked, Pieces(self._tokenizer)
    own = pieces.add(choice.tokens, True)
    if scores is None:
      return answers.Told(own, choice.logprobs, None)
    if not np.isfinite(scores.logprobs[1:]).all():
      raise NotFinite(NOT_FINITE)
    first = prompt_tokens
    if asked.echo:
      first, before = 0, Pieces(self._tokenizer)
      own = before.add(row[:prompt_tokens].tolist(), True) + own
    logprobs = [float(x) if i else None for i, x in enumerate(scores.logprobs)]
    rows = None
    if asked.alternatives:
      rows = [
        self._tops(scores, i, row, piece) for i, piece in enumerate(own, first)
      ]
    return answers.Told(own, logprobs[first:], rows)

  def _tops(self, scores, i, row, piece):
    """The likeliest in a place, and what stands there if it is none of them."""
    if not i:
      return []
    count, decode = self._call.asked.alternatives, self._tokenizer.decode
    ids = scores.ids[i, :count].tolist()
    tops = [
      (piece if token == row[i] else decode([token]), float(logprob))
      for token, logprob in zip(ids, scores.tops[i, :count], strict=True)
    ]
    if self._call.head.kind == CHAT or row[i] in ids:
      return tops
    return [*tops, (piece, float(scores.logprobs[i]))]

  def _echo(self, prompt):
    if not self._call.asked.echo:
      return ''
    text = prompt.text
    return self._tokenizer.decode(prompt.tokens) if text is None else text

  def _usage(self):
    prompts = sum(len(prompt.tokens) for prompt in self._call.prompts)
    made = sum(len(choice.tokens) for choice in self._choices.values())
    return answers.usage(prompts, made)


class _Out:
  """Writes one answer."""

  def __init__(self, send):
    self._send, self._begun = send, False

  async def write(self, data, status=200):
    """All of it."""
    kind = b'application/json'
    headers = [(b'content-length', str(len(data)).encode())]
    await self._begin(status, kind, headers)
    await self._send(dict(type='http.response.body', body=data))

  async def event(self, data, is_last=False):
    """A piece of it."""
    if not self._begun:
      headers = [(b'cache-control', b'no-store')]
      await self._begin(200, b'text/event-stream; charset=utf-8', headers)
    await self._send(
      dict(type='http.response.body', body=data, more_body=not is_last)
    )

  async def fail(self, status, sentence):
    """Instead of it, or instead of the rest."""
    error = answers.error(status, sentence)
    if self._begun:
      await self.event(answers.to_event(error), is_last=True)
    else:
      await self.write(answers.to_json(error), status)

  async def _begin(self, status, kind, headers):
    self._begun = True
    headers = [(b'content-type', kind), *headers]
    if status in (429, 503):
      headers.append((b'retry-after', _RETRY_SECONDS.encode()))
    await self._send(
      dict(type='http.response.start', status=status, headers=headers)
    )


async def _gone(receive):
  """Returns when the client has gone away."""
  while (await receive())['type'] != 'http.disconnect':
    pass
