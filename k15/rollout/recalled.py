"""`RecallingBackend`: calls of the decode loop that a journal knows.

A scheduler does the same things in the same order whenever it is asked for the
same responses.  As long as the journal knows what the next call returned, it
is returned, and nothing is computed: prefills and insertions are noted.  Where
the journal ends, some responses are under way, and what they go on from, keys
and values, was never kept.  A prefill would compute them with other roundings
than the decode loop had.  So the calls in which they took part are done once
more, with all tokens given: same program, same slots, same neighbours, and
hence the same bits.  Slots whose responses end on the way hold blanks at the
right positions, for these alone decide what a call does with the others.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15.rollout import requests as requests_lib
from k15.rollout.backend import SlotBackend
from k15.rollout.journal import Call
from k15.rollout.journal import Phase
from k15.rollout.journal import Piece
from k15.rollout.requests import Context, Request, Stop
from k15.rollout.slots import DecodedTokens


@dataclasses.dataclass(eq=False)
class _Stay:
  """A request in a slot: since which call, and what each has added."""

  request: Request
  first: int
  added: list[np.ndarray]


@dataclasses.dataclass(eq=False)
class _Prefix:
  """Contexts to be prefilled, once somebody needs them."""

  contexts: Sequence[Context]
  made: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Past:
  """A call that was recalled.

  Attributes:
    number: of the call.
    standing: slot -> what was in it before the insertions.
    insertions: arguments of `insert`, since the call before.
    stop_when_free: argument of `generate`.
    made: what it returned.
  """

  number: int
  standing: Mapping[int, _Stay]
  insertions: Sequence[tuple]
  stop_when_free: int
  made: DecodedTokens


class RecallingBackend:
  """A `Backend` that keeps what its calls return, and recalls what is known.

  Attributes:
    fed: calls that were done once more.
    is_recalling: what was done last was in the journal, and took no time.
  """

  def __init__(self, inner: SlotBackend, phase: Phase, version: int):
    """`inner` decodes with weights of this version, the only ones."""
    self.num_slots = inner.num_slots
    self.prefill_batch = inner.prefill_batch
    self.fed, self.is_recalling = 0, False
    self._inner, self._phase, self._version = inner, phase, version
    self._known = collections.deque(phase.calls)
    self._number = 0  # of the next call
    self._stays: dict[int, _Stay] = {}
    self._standing, self._insertions = {}, []  # since the latest call
    self._past: collections.deque[_Past] = collections.deque()

  @property
  def counts(self) -> Mapping[str, int]:
    """As in `Backend`."""
    return self._inner.counts

  def check(self, request: Request) -> None:
    """As in `Backend`."""
    self._inner.check(request)

  def bucket_of(self, context: Context) -> Any:
    """As in `Backend`."""
    return self._inner.bucket_of(context)

  def set_params(self, params: Any) -> None:
    """As in `Backend`."""
    self._inner.set_params(params)

  def prefill(self, contexts: Sequence[Context]) -> _Prefix:
    """As in `Backend`; only noted, if the next call is known."""
    prefix = _Prefix(contexts)
    # What pictures the tower has looked at, and which features are kept, is
    # counted and told: it has to be as it was.
    if not self._known or any(context.images for context in contexts):
      self._whole(prefix)
    return prefix

  def insert(
    self,
    prefix: _Prefix,
    rows: Sequence[int],
    requests: Sequence[Request],
    slots: Sequence[int],
  ) -> None:
    """As in `Backend`; only noted, if the next call is known."""
    self.is_recalling = bool(self._known)
    self._catch_up()
    for request, slot in zip(requests, slots, strict=True):
      self._stays[slot] = _Stay(request, self._number, [])
    if self._known:
      self._insertions.append((prefix, rows, requests, slots))
    else:
      self._inner.insert(self._whole(prefix), rows, requests, slots)

  def wait(self) -> None:
    """As in `Backend`."""
    if not self._known:
      self._inner.wait()

  def free(self, slots: Sequence[int]) -> None:
    """As in `Backend`; what is known beyond this is of no use."""
    self._known.clear()
    self._catch_up()
    self._inner.free(slots)
    for slot in slots:
      self._stays.pop(slot, None)

  def generate(self, stop_when_free: int) -> DecodedTokens:
    """As in `Backend`, from the journal or into it."""
    self.is_recalling = bool(self._known)
    if self._known:
      made = self._made_of(self._known.popleft())
      self._past.append(
        _Past(
          self._number,
          self._standing,
          self._insertions,
          stop_when_free,
          made,
        )
      )
    else:
      self._catch_up()
      made = self._inner.generate(stop_when_free)
      self._phase.write(self._call_of(made))
      self._phase.sync()
    self._take_in(made)
    return made

  def _take_in(self, made):
    """Ends the stays that a call has ended; forgets calls of no use."""
    for slot, stay in list(self._stays.items()):
      stay.added.append(made.tokens[slot, : int(made.counts[slot])])
      if made.stop[slot] != Stop.RUNNING:
        del self._stays[slot]
    self._number += 1
    self._standing, self._insertions = dict(self._stays), []
    oldest = min((s.first for s in self._stays.values()), default=self._number)
    while self._past and self._past[0].number < oldest:
      self._past.popleft()

  def _catch_up(self):
    """Brings the slots to where the journal ends, once it has ended."""
    if self._known or not self._past:
      return
    past, self._past = list(self._past), collections.deque()
    self._put_blanks(past[0])
    for call in past:
      for prefix, rows, requests, slots in call.insertions:
        self._inner.insert(self._whole(prefix), rows, requests, slots)
      made = call.made
      column = np.arange(made.tokens.shape[1])
      given = np.where(column < made.counts[:, None], made.tokens, -1)
      again = self._inner.generate(call.stop_when_free, given)
      for name in ('steps', 'counts', 'stop'):
        if not np.array_equal(getattr(again, name), getattr(made, name)):
          raise self._misfit(f'{name} of call {call.number} come out otherwise')
    self.fed += len(past)

  def _put_blanks(self, call):
    """Fills the slots that were taken before a call."""
    requests = []
    for stay in call.standing.values():
      parts = stay.added[: call.number - stay.first]
      added = requests_lib.join(parts, np.int32)
      response = requests_lib.join([stay.request.response, added], np.int32)
      budget = stay.request.budget - len(added)
      requests.append(
        dataclasses.replace(stay.request, response=response, budget=budget)
      )
    self._inner.insert_blank(requests, list(call.standing))

  def _whole(self, prefix):
    if prefix.made is None:
      prefix.made = self._inner.prefill(prefix.contexts)
    return prefix.made

  def _call_of(self, made):
    """What a call returned, as the journal has it."""
    pieces = []
    for slot, stay in self._stays.items():
      count = int(made.counts[slot])
      pieces.append(
        Piece(
          (stay.request.group_id, stay.request.sample_index),
          made.tokens[slot, :count],
          made.logprobs[slot, :count],
          self._version,
          Stop(int(made.stop[slot])),
        )
      )
    return Call(int(made.steps), tuple(pieces))

  def _made_of(self, call):
    """The inverse of `_call_of`."""
    pieces = {piece.name: piece for piece in call.pieces}
    width = max((len(piece.tokens) for piece in call.pieces), default=0)
    shape = self.num_slots, width
    made = DecodedTokens(
      tokens=np.zeros(shape, np.int32),
      logprobs=np.zeros(shape, np.float32),
      counts=np.zeros(self.num_slots, np.int32),
      stop=np.full(self.num_slots, Stop.RUNNING, np.int32),
      steps=call.steps,
    )
    for slot, stay in self._stays.items():
      name = stay.request.group_id, stay.request.sample_index
      if name not in pieces:
        raise self._misfit(
          f'call {self._number} knows nothing of'
          f' {requests_lib.name_of(stay.request)}'
        )
      piece = pieces.pop(name)
      count = len(piece.tokens)
      made.tokens[slot, :count] = piece.tokens
      made.logprobs[slot, :count] = piece.logprobs
      made.counts[slot], made.stop[slot] = count, piece.stop
    if pieces:
      raise self._misfit(f'call {self._number} knows of {len(pieces)} more')
    return made

  def _misfit(self, what):
    return ValueError(
      f'{self._phase.where}: {what}: it was written by another version;'
      ' remove it, and its responses are sampled anew'
    )
