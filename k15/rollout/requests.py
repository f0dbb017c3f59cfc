"""What a rollout is asked for and what it hands back: host types, no jax.

A `Request` grows by `Chunk`s, one per call of the decode loop it was in, and
is handed over whole as a `Completion`.  Tokens in, tokens out.  `Rollout` is
what every stage asks, `LocalRollout` and `RemoteRollout` are the two there are.
"""

import dataclasses
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from k15.data_types import ImageRef, Segment, StopReason
from k15.vision.sight import Sight

MAX_STOP_IDS = 4
# What every rollout counts.
COUNTS = (
  'tokens', 'decode_steps', 'generate_calls', 'prefill_calls',
  'prefill_tokens', 'images_encoded', 'image_tokens',
)  # fmt: skip


class Stop(enum.IntEnum):
  """Why sampling stopped; the first four numbers come from the device.

  `reason` is what that means for the response, None where it means nothing: it
  goes on, or there is no response to speak of.  A spent budget is BUDGET even
  where the response has its longest length, of which a request knows nothing.
  """

  RUNNING = 0, None  # It did not.
  ENDED = 1, StopReason.EOS  # A stop token, which is kept.
  EXHAUSTED = 2, StopReason.BUDGET  # Its budget is spent.
  REPEATED = 3, StopReason.REPETITION  # Caught in a loop.
  INTERRUPTED = 4, StopReason.BUDGET  # Asked to stop here; to be resumed.
  CANCELLED = 5, None  # Nobody wants it any more.
  FAILED = 6, None  # Whatever decoded it broke.

  def __new__(cls, number: int, reason: StopReason | None):
    """A number, which arrays hold, and what it means."""
    member = int.__new__(cls, number)
    member._value_, member.reason = number, reason
    return member


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
  """A response to be started or continued.

  Attributes:
    group_id, sample_index: int32, not negative; with `seed` they decide every
      random number of the response.
    prompt: int32 [T], at least one token.
    response: int32 [T], what earlier segments already hold, perhaps empty.
    budget: tokens it may grow now, at least 1.
    temperature: of the sampling; 0 takes the likeliest token.
    top_p: in (0, 1]: only the likeliest tokens, so many that together they have
      this probability, are sampled from; 1 is all.
    seed: uint64, the two words of the run's threefry key, high word first.
    stop_ids: tokens that end it, four at most; empty: the end of sequence.
    images: for which the placeholders of the prompt stand, in order; pixels are
      wherever the policy decodes.
  """

  group_id: int
  sample_index: int
  prompt: np.ndarray
  response: np.ndarray
  budget: int
  temperature: float = 1.0
  top_p: float = 1.0
  seed: int = 0
  stop_ids: tuple[int, ...] = ()
  images: tuple[ImageRef, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Chunk:
  """What one call of the decode loop added to one request.

  Attributes:
    request: the very object that was submitted.
    tokens: int32 [T]; none only if it was stopped from outside.
    logprobs: float32 [T], nats, of the whole tempered distribution, whatever
      part of it was sampled from; at temperature 0, of the untempered one.
    policy_version: of the weights that sampled all of them.
    stop: RUNNING in all chunks of a request but its last.
    error: a sentence, when it failed.
  """

  request: Request
  tokens: np.ndarray
  logprobs: np.ndarray
  policy_version: int
  stop: Stop
  error: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class Completion:
  """All new tokens of one request.

  `segments` are what each policy version sampled, in order; `stop` is never
  RUNNING.
  """

  request: Request
  segments: tuple[Segment, ...]
  stop: Stop

  @property
  def tokens(self) -> np.ndarray:
    """int32 [T], all segments joined."""
    return join([segment.tokens for segment in self.segments], np.int32)

  @property
  def logprobs(self) -> np.ndarray:
    """float32 [T], all segments joined."""
    parts = [segment.behavior_logprobs for segment in self.segments]
    return join(parts, np.float32)


class Rollout(Protocol):
  """Where a stage asks for responses."""

  def set_params(self, params: Any, version: int) -> None:
    """Samples from these weights from the next `generate` on.

    `version` is written into every segment that they sample.
    """

  def warm_up(self, longest_context: int | None = None) -> None:
    """Compiles every shape, so that nothing compiles later.

    Args:
      longest_context: tokens of the longest prompt and response that will be
        asked to go on; None: whatever fits.
    """

  def generate(
    self, requests: Sequence[Request], phase: Any = None
  ) -> Iterator[Completion]:
    """Answers every request once, in the order in which they finish.

    Their seeds are of no account: the key of the rollout takes their place.

    Args:
      requests: of any content.
      phase: a `journal.Phase`: what it knows is not sampled again, and what is
        sampled is kept there; None: nothing is.

    Raises:
      ValueError: no weights were set, or a request does not fit.
    """

  def pop_stats(self) -> dict[str, int | float]:
    """Counts since the last call, `COUNTS` among them."""

  def close(self) -> None:
    """Lets go of the weights."""


@dataclasses.dataclass(frozen=True)
class SlotEvent:
  """What a slot did in one call.

  Attributes:
    slot: its number.
    kind: 'prefill' or 'decode'.
    start, end: seconds of `time.monotonic`.  A response that stopped in the
      middle of a call ends there; one stopped between calls is an event of no
      length, with its `stop`.
    group_id, sample_index: the response.
    version: of the weights.
    tokens: prefilled, or made.
    stop: as in `Chunk`.
  """

  slot: int
  kind: str
  start: float
  end: float
  group_id: int
  sample_index: int
  version: int
  tokens: int
  stop: Stop


@dataclasses.dataclass(eq=False)
class Work:
  """A request on its way.

  Attributes:
    request: as it is decoded.
    asked: as the caller knows it, without the seed that a rollout gave it.
    chunks: what it has got so far.
    failures: of workers that had it, see `remote`.
  """

  request: Request
  asked: Request
  chunks: list[Chunk] = dataclasses.field(default_factory=list)
  failures: int = 0

  @property
  def is_done(self) -> bool:
    """Whether the last chunk is there."""
    return bool(self.chunks) and self.chunks[-1].stop is not Stop.RUNNING

  def completion(self) -> 'Completion':
    """All of it, as the caller knows it; call it when it is done.

    Raises:
      RuntimeError: the request failed.
      NotFinite: see `completion_of`.
    """
    last = self.chunks[-1]
    if last.stop is Stop.FAILED:
      raise RuntimeError(f'{name_of(self.asked)} failed: {last.error}')
    return completion_of(self.asked, self.chunks, last.stop)

  def rest(self) -> Request:
    """What is still to be sampled: it goes on after all chunks so far."""
    if not self.chunks:
      return self.request
    made = join([chunk.tokens for chunk in self.chunks], np.int32)
    response = join([self.request.response, made], np.int32)
    budget = self.request.budget - len(made)
    return dataclasses.replace(self.request, response=response, budget=budget)


class NotFinite(FloatingPointError):
  """A policy computes what is no number; the message is a sentence."""


def completion_of(
  request: Request, chunks: Iterable[Chunk], stop: Stop
) -> Completion:
  """All chunks of a request joined.

  Raises:
    NotFinite: a log-probability is not: the tokens are noise, whatever reads
      them, though every weight may be a number.
  """
  completion = Completion(request, segments_of(chunks), stop)
  number = np.count_nonzero(~np.isfinite(completion.logprobs))
  if number:
    raise NotFinite(
      f'{name_of(request)}: the log-probabilities of {number} of its'
      f' {len(completion.logprobs)} tokens are not finite: the policy computes'
      ' numbers that its dtype cannot hold, or has such weights'
    )
  return completion


def last_chunk(
  request: Request, policy_version: int, stop: Stop, error: str = ''
) -> Chunk:
  """What a request gets that is stopped from outside: no tokens."""
  tokens, logprobs = np.zeros(0, np.int32), np.zeros(0, np.float32)
  return Chunk(request, tokens, logprobs, policy_version, stop, error)


def segments_of(chunks: Iterable[Chunk]) -> tuple[Segment, ...]:
  """Joins consecutive chunks of one policy version; drops empty ones."""
  runs = []
  for chunk in chunks:
    if not len(chunk.tokens):
      continue
    if not runs or runs[-1][0].policy_version != chunk.policy_version:
      runs.append([])
    runs[-1].append(chunk)
  return tuple(
    Segment(
      tokens=join([chunk.tokens for chunk in run], np.int32),
      behavior_logprobs=join([chunk.logprobs for chunk in run], np.float32),
      policy_version=run[0].policy_version,
    )
    for run in runs
  )


def join(parts: list[np.ndarray], dtype: type) -> np.ndarray:
  """One array of all parts, of `dtype` even if there are none."""
  return np.concatenate([np.zeros(0, dtype), *parts], dtype=dtype)


class Context(NamedTuple):
  """What is prefilled before a request grows: prompt and response.

  `tokens` int32 [T], and the pictures for which its placeholders stand.
  """

  tokens: np.ndarray
  images: tuple[ImageRef, ...] = ()

  @property
  def key(self) -> tuple[bytes, tuple[str, ...]]:
    """Equal for equal contexts: two of equal tokens may show other pictures."""
    return self.tokens.tobytes(), tuple(image.digest for image in self.images)


def context_of(request: Request) -> Context:
  """Of a request, with whatever its response holds already."""
  tokens = join([request.prompt, request.response], np.int32)
  return Context(tokens, request.images)


def name_of(request: Request) -> str:
  """How messages call a request."""
  return f'response {request.group_id}/{request.sample_index}'


def check(
  request: Request, columns: int, vocab_size: int, sight: Sight | None = None
) -> None:
  """Refuses what cannot be decoded, before anything is computed.

  Args:
    request: of any content.
    columns: longest prompt, response and budget together, in tokens.
    vocab_size: ids are below it.
    sight: how the policy sees pictures; None: it sees none.

  Raises:
    ValueError: naming the response and the numbers.
  """
  name = name_of(request)
  _check_ids(name, request)
  _check_tokens(f'{name}: the prompt', request.prompt, vocab_size)
  _check_tokens(f'{name}: the response', request.response, vocab_size)
  length = len(request.prompt) + len(request.response)
  if not len(request.prompt):
    raise ValueError(f'{name} has an empty prompt')
  if not _is_integer(request.budget) or request.budget < 1:
    raise ValueError(f'{name} has a budget of {request.budget} tokens')
  # As float32, which is what the device divides by.
  tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
  temperature = request.temperature
  if temperature != 0 and not tiny <= temperature <= huge:
    raise ValueError(f'{name} has temperature {temperature}')
  if not tiny <= request.top_p <= 1:
    raise ValueError(f'{name} has top_p {request.top_p}, outside (0, 1]')
  if len(request.stop_ids) > MAX_STOP_IDS:
    raise ValueError(
      f'{name} has {len(request.stop_ids)} stop ids, more than {MAX_STOP_IDS}'
    )
  _check_tokens(f'{name}: stop_ids', request.stop_ids, vocab_size)
  if length + request.budget > columns:
    raise ValueError(
      f'{name}: {length} tokens and a budget of {request.budget} do not fit in'
      f' {columns} columns'
    )
  _check_images(name, request, sight)


def _check_images(name, request, sight):
  if sight is None:
    if request.images:
      raise ValueError(
        f'{name} has {len(request.images)} pictures, and the policy sees none'
      )
    return
  try:
    sight.check(np.asarray(request.prompt), request.images)
  except ValueError as error:
    raise ValueError(f'{name}: {error}') from None
  # None was sampled: they are banned in the logits.
  found = np.isin(request.response, sight.banned_ids)
  if found.any():
    raise ValueError(
      f'{name}: the response has {int(found.sum())} placeholders of pictures'
    )


def _check_ids(name, request):
  for field, bits in (('group_id', 31), ('sample_index', 31), ('seed', 64)):
    value = getattr(request, field)
    if not _is_integer(value) or not 0 <= value < 1 << bits:
      raise ValueError(f'{name}: {field} {value} is outside [0, 2^{bits})')


def _is_integer(value):
  return isinstance(value, int | np.integer)


def _check_tokens(what, tokens, vocab_size):
  if np.ndim(tokens) != 1:
    raise ValueError(f'{what} has {np.ndim(tokens)} dimensions, not 1')
  tokens = np.asarray(tokens)
  if not len(tokens):
    return
  if not np.issubdtype(tokens.dtype, np.integer):
    raise ValueError(f'{what} holds {tokens.dtype}, not integers')
  low, high = tokens.min(), tokens.max()
  if low < 0 or high >= vocab_size:
    bad = low if low < 0 else high
    raise ValueError(f'{what} has id {bad}, outside [0, {vocab_size})')
