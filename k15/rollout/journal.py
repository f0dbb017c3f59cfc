"""What was sampled and judged since the last checkpoint, as it comes.

A run that was killed begins again with its last checkpoint, and asks for the
same responses: same problems, ids and seeds, under weights of the same bits.
The journal answers in place of the decoder for as long as it can.  Its parts
are iterations; a part holds, of each `generate`, a `Phase`: what was asked, as
a digest, and what every call of the decode loop returned; and verdicts, so that
no slow judge is asked twice.  A checkpoint makes the parts before it
superfluous.

Of several processes the first writes and reads, and tells the others what it
has read.  If the disk is full, or anything else of it fails, a sentence says
so, and the run goes on without a journal.
"""

import dataclasses
import hashlib
import json
import pathlib
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from k15.checkpoints import segments as segments_lib
from k15.devices import hosts
from k15.rewards.verdict import Verdict
from k15.rollout import requests as requests_lib
from k15.rollout.requests import Chunk, Request, Stop

_CALL = struct.Struct('<Biii')  # its kind, round, steps, pieces
_PIECE = 5  # int32 of each: ids, tokens, version, stop
_IS_CALL = 1  # An entry of JSON begins with a brace.


class Piece(NamedTuple):
  """What a call added to a response, as a `Chunk` has it."""

  name: tuple[int, int]  # group_id, sample_index
  tokens: np.ndarray
  logprobs: np.ndarray
  policy_version: int
  stop: Stop


class Call(NamedTuple):
  """One call of the decode loop: decode steps, and a piece a live response.

  Of a remote rollout, what a worker has sent of one response, of 0 steps.
  """

  steps: int
  pieces: tuple[Piece, ...]


class Journal:
  """The journal of a stage of RL.

  Attributes:
    weights: digest of those that the iteration begins with.
  """

  def __init__(
    self,
    directory: pathlib.Path | None,
    open_segments: Callable[..., Any] = segments_lib.Segments,
  ):
    """A directory of None keeps and knows nothing."""
    self._is_on = directory is not None
    self._directory, self._segments = directory, None
    self._iteration, self.weights, self._round = 0, '', 0
    self._entries, self._verdicts = [], {}
    if self._is_on and hosts.is_first():
      try:
        self._segments = open_segments(directory)
      except OSError as error:
        self._give_up(error)

  @property
  def is_writing(self) -> bool:
    """Whether what comes is kept; only of the first process."""
    return self._segments is not None

  @property
  def where(self) -> str:
    """Where the iteration stands, for messages."""
    return f'{self._directory}, iteration {self._iteration}'

  def begin(self, iteration: int, params: Any) -> None:
    """Reads what there is of an iteration that begins with these weights.

    All processes have to ask.
    """
    if not self._is_on:
      return
    found = self._try('read', iteration) or []
    self._iteration, self._round = iteration, 0
    self.weights = weights_digest(params)
    self._entries, self._verdicts = [], {}
    for entry in _told_by_first(found):
      if entry[0] == _IS_CALL:
        self._entries.append(_unpack(entry))
        continue
      facts = json.loads(entry)
      if 'verdict' in facts:
        verdict = Verdict(**facts['verdict'])
        self._verdicts[*facts['name'], facts['text']] = verdict
      else:
        self._entries.append((facts['round'], facts))

  def phase(self) -> 'Phase | None':
    """The next `generate` of the iteration; None where nothing is kept."""
    if not self._is_on:
      return None
    number, self._round = self._round, self._round + 1
    own = [entry for own, entry in self._entries if own == number]
    self._entries = [pair for pair in self._entries if pair[0] != number]
    return Phase(self, number, own)

  def verdict(self, name: tuple[int, int], text: str) -> Verdict | None:
    """What was said of this text of a response, if it was."""
    return self._verdicts.get((*name, zlib.crc32(text.encode())))

  def keep_verdict(
    self, name: tuple[int, int], text: str, verdict: Verdict
  ) -> None:
    """Keeps what was said, from any thread; an error is asked about again."""
    if verdict.kind == 'error':
      return
    facts = dict(
      name=name,
      text=zlib.crc32(text.encode()),
      verdict=dataclasses.asdict(verdict),
    )
    self.write(json.dumps(facts).encode())

  def write(self, entry: bytes) -> None:
    """Adds an entry to the iteration's, from any thread."""
    self._try('append', self._iteration, entry)

  def sync(self) -> None:
    """As `Segments.sync`."""
    self._try('sync')

  def refuse(self, why: str) -> None:
    """Deletes this iteration's part, and those that follow from it."""
    self._entries, self._verdicts = [], {}
    if self.is_writing:
      _say(
        f'{self._directory} is of no use from iteration {self._iteration} on:'
        f' {why}; its responses are sampled anew'
      )
    self._try('drop', 0, self._iteration)

  def forget(self, before: int) -> None:
    """Deletes what a checkpoint of iteration `before` makes superfluous."""
    self._try('drop', before)

  def close(self) -> None:
    """Nothing more comes."""
    self._try('close')
    self._segments = None

  def _try(self, method, *arguments):
    """Calls it of the segments, if there are any; after an error none are."""
    segments = self._segments
    if segments is None:
      return None
    try:
      return getattr(segments, method)(*arguments)
    except OSError as error:
      self._give_up(error)
      return None

  def _give_up(self, error):
    self._segments = None
    _say(
      f'no journal in {self._directory} from here on: {error}; a kill loses'
      ' what is sampled after the last checkpoint'
    )


class Phase:
  """The journal of one `generate`.

  Attributes:
    calls: that are known, in order; of a schedule that is now the same.
    pieces: of each response that are known, in order, if it is another.
    where: it stands, for messages.
  """

  def __init__(self, journal: Journal, number: int, entries: Sequence[Any]):
    """`entries` are what the journal has of it: dicts and calls."""
    self.calls: list[Call] = []
    self.pieces: dict[tuple[int, int], list[Piece]] = {}
    self._journal, self._number, self._entries = journal, number, entries
    self.where = journal.where

  def open(self, requests: Sequence[Request], schedule: str) -> None:
    """Finds what is known of these requests; call it once, first.

    Args:
      requests: all of them, seeded, in order.
      schedule: of what decides which requests share a call; '': that is not
        decided by anything that comes again.
    """
    facts = dict(
      round=self._number,
      weights=self._journal.weights,
      requests=digest(requests),
      schedule=schedule,
    )
    opened = [entry for entry in self._entries if isinstance(entry, dict)]
    calls = [entry for entry in self._entries if isinstance(entry, Call)]
    for name in ('weights', 'requests'):
      if any(entry[name] != facts[name] for entry in opened):
        self._journal.refuse(f'it is of other {name}')
        opened, calls = [], []
    self._entries = []
    if schedule and all(entry['schedule'] == schedule for entry in opened):
      self.calls = calls
    else:
      for piece in (piece for call in calls for piece in call.pieces):
        self.pieces.setdefault(piece.name, []).append(piece)
    self._journal.write(json.dumps(facts).encode())

  def chunks_of(self, request: Request) -> list[Chunk]:
    """What `pieces` has of a request."""
    name = request.group_id, request.sample_index
    return [Chunk(request, *piece[1:]) for piece in self.pieces.get(name, ())]

  def write(self, call: Call) -> None:
    """Keeps what a call has returned; from any thread."""
    if self._journal.is_writing:
      self._journal.write(_pack(self._number, call))

  def sync(self) -> None:
    """Has it brought to the disk; see `Segments.sync`."""
    self._journal.sync()


def piece_of(chunk: Chunk) -> Piece:
  """A chunk as the journal has it."""
  name = chunk.request.group_id, chunk.request.sample_index
  return Piece(
    name, chunk.tokens, chunk.logprobs, chunk.policy_version, chunk.stop
  )


def digest(requests: Sequence[Request]) -> str:
  """Of all that decides which tokens these requests get, but the weights."""
  found = hashlib.sha256()
  for r in requests:
    plain = (
      r.group_id, r.sample_index, len(r.prompt), len(r.response), r.budget,
      r.temperature, r.top_p, r.seed, r.stop_ids,
      [image.digest for image in r.images],
    )  # fmt: skip
    found.update(json.dumps(plain, default=int).encode())
    found.update(np.asarray(r.prompt, np.int32).tobytes())
    found.update(np.asarray(r.response, np.int32).tobytes())
  return found.hexdigest()


def weights_digest(params: Any) -> str:
  """Of weights on devices: sums of their bits, an array each."""
  sums = [_sum(x) for x in jax.tree.leaves(params)]
  sums = hosts.to_host(_together(sums))  # One array to bring, of all hosts.
  return f'{zlib.crc32(np.asarray(sums)):08x}'


_together = jax.jit(jnp.stack)


@jax.jit
def _sum(x):
  """uint32, of an array the sum of its bits.

  Where weights are the same, so is this, on any mesh: whole numbers are added.
  Layers share their programs: one of all arrays takes longer to compile.
  """
  bits = jnp.dtype(f'uint{8 * x.dtype.itemsize}')
  numbers = jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)
  return jnp.sum(numbers, dtype=jnp.uint32)


def _pack(number, call):
  """A call as bytes: about 8 a token."""
  pieces = call.pieces
  facts = np.array(
    [(*p.name, len(p.tokens), p.policy_version, int(p.stop)) for p in pieces],
    '<i4',
  )
  tokens = requests_lib.join([p.tokens for p in pieces], np.int32)
  logprobs = requests_lib.join([p.logprobs for p in pieces], np.float32)
  # Arrays as they are: each copy more is a hundredth of a short call.
  return b''.join((
    _CALL.pack(_IS_CALL, number, call.steps, len(pieces)),
    facts,
    tokens.astype('<i4', copy=False),
    logprobs.astype('<f4', copy=False),
  ))  # fmt: skip


def _unpack(entry):
  """The round and the call of `_pack`."""
  _, number, steps, count = _CALL.unpack_from(entry)
  numbers = np.frombuffer(entry, '<i4', offset=_CALL.size)
  facts, numbers = numbers[: count * _PIECE], numbers[count * _PIECE :]
  tokens, logprobs = np.split(numbers, 2)
  logprobs, pieces, start = logprobs.view('<f4'), [], 0
  for group_id, sample, size, version, stop in facts.reshape(-1, _PIECE):
    here = slice(start, start + size)
    name = int(group_id), int(sample)
    pieces.append(
      Piece(name, tokens[here], logprobs[here], int(version), Stop(int(stop)))
    )
    start += size
  return number, Call(steps, tuple(pieces))


def _told_by_first(entries):
  """The first process's entries, in all of them."""
  if jax.process_count() == 1:
    return entries
  sizes = np.array([len(entry) for entry in entries], np.int64)
  count = hosts.of_first(np.array(len(sizes), np.int64))
  if not count:
    return []
  # Of one shape in all processes, as `of_first` wants it.
  sizes = hosts.of_first(sizes if hosts.is_first() else np.zeros(count, int))
  own = np.frombuffer(b''.join(entries), np.uint8)
  own = own if hosts.is_first() else np.zeros(sizes.sum(), np.uint8)
  content = hosts.of_first(own).tobytes()
  ends = np.cumsum(sizes)
  return [
    content[end - size : end] for end, size in zip(ends, sizes, strict=True)
  ]


def _say(sentence):
  print(f'k15: {sentence}', file=sys.stderr, flush=True)
