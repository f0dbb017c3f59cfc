"""Requests and chunks as messages, and the calls of the rollout service.

`rollout.proto` describes the messages.  The stub and the handlers are made
from its descriptor, so that no code depends on the version of gRPC.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf import message_factory
from google.protobuf.message import DecodeError

from k15.data_types import ImageRef
from k15.rollout.requests import Chunk, Request, Stop
from k15.rollout.slots import SlotDecoder
from k15.serving import rollout_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name['Rollout']
# Little-endian whatever the host is, as `rollout.proto` says.
_INT32, _FLOAT32 = np.dtype('<i4'), np.dtype('<f4')
_PIECE_BYTES = 1 << 20  # of a picture; with its name below any message limit


class Refused(Exception):
  """A call that ends with a gRPC status and a sentence."""

  def __init__(self, code: grpc.StatusCode, sentence: str):
    super().__init__(sentence)
    self.code, self.sentence = code, sentence


class Stub:
  """The calls of the service as methods: `stub.Stats(request, timeout=5)`."""

  def __init__(self, channel: grpc.Channel):
    for method in _SERVICE.methods:
      call = getattr(channel, _kind(method))(
        f'/{_SERVICE.full_name}/{method.name}',
        request_serializer=_class(method.input_type).SerializeToString,
        response_deserializer=_class(method.output_type).FromString,
      )
      setattr(self, method.name, call)


def handlers(
  servicer: Any, message_bytes: int, wrap: Callable[[Any], Any]
) -> grpc.GenericRpcHandler:
  """Handlers for a server.

  Args:
    servicer: has a method of the name of every call.
    message_bytes: larger messages are not parsed: the servicer gets a
      `Refused` in their place.
    wrap: put around each method.
  """
  by_name = {}
  for method in _SERVICE.methods:
    make = getattr(grpc, f'{_kind(method)}_rpc_method_handler')
    by_name[method.name] = make(
      wrap(getattr(servicer, method.name)),
      request_deserializer=_parser(_class(method.input_type), message_bytes),
      response_serializer=_class(method.output_type).SerializeToString,
    )
  return grpc.method_handlers_generic_handler(_SERVICE.full_name, by_name)


def groups_of(requests: Sequence[Request]) -> list[pb.Group]:
  """Messages for requests of one context, in their order.

  Neighbours that differ in `sample_index` only are in one group.
  """
  groups = []
  for key, run in itertools.groupby(requests, _all_but_the_sample):
    run = list(run)
    group_id, budget, temperature, top_p, seed, stop_ids = key
    groups.append(
      pb.Group(
        group_id=group_id,
        sample_indices=[request.sample_index for request in run],
        prompt=_packed(run[0].prompt, _INT32),
        response=_packed(run[0].response, _INT32),
        token_budget=budget,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop_ids=stop_ids,
        images=[bytes.fromhex(image.digest) for image in run[0].images],
      )
    )
  return groups


def requests_of(
  group: pb.Group, refs: Mapping[str, ImageRef] | None = None
) -> list[Request]:
  """The inverse; the budget ends at `max_length`.

  Args:
    refs: the pictures that are here, by digest.

  Raises:
    ValueError: it asks for nothing, or for more of a response that is whole.
    Refused: a picture is not here; names it.
  """
  name = f'group {group.group_id}'
  if not group.sample_indices:
    raise ValueError(f'{name} asks for no sample')
  prompt = _unpacked(group.prompt, _INT32, f'{name}: the prompt')
  response = _unpacked(group.response, _INT32, f'{name}: the response')
  budget = group.token_budget
  if group.max_length:
    left = group.max_length - len(response)
    if left < 1:
      raise ValueError(
        f'{name}: a response of {len(response)} tokens has reached its maximum'
        f' of {group.max_length}'
      )
    budget = min(budget, left) if budget else left
  images = tuple(_ref_of(digest, refs or {}, name) for digest in group.images)
  return [
    Request(
      group_id=group.group_id,
      sample_index=index,
      prompt=prompt,
      response=response,
      budget=budget,
      temperature=group.temperature if group.HasField('temperature') else 1.0,
      top_p=group.top_p if group.HasField('top_p') else 1.0,
      seed=group.seed,
      stop_ids=tuple(group.stop_ids),
      images=images,
    )
    for index in group.sample_indices
  ]


def _ref_of(digest, refs, name):
  if digest.hex() not in refs:
    raise Refused(
      grpc.StatusCode.FAILED_PRECONDITION,
      f'{name}: the picture {digest.hex()} is not here: put it, and send the'
      ' group again',
    )
  return refs[digest.hex()]


def images_of(pictures: Mapping[str, np.ndarray]) -> Iterator[pb.Image]:
  """Messages that put pixels uint8 [h, w, 3], by digest."""
  for digest, pixels in pictures.items():
    data = np.ascontiguousarray(pixels).tobytes()
    for start in range(0, len(data), _PIECE_BYTES):
      yield pb.Image(
        digest=bytes.fromhex(digest),
        height=pixels.shape[0],
        width=pixels.shape[1],
        data=data[start : start + _PIECE_BYTES],
      )


def message_of(chunk: Chunk, sample: int, at_maximum: bool) -> pb.Chunk:
  """A chunk as a message.

  Args:
    sample: its number in the stream.
    at_maximum: its budget ends where the response reaches `max_length`.
  """
  finish = int(chunk.stop)
  if chunk.stop == Stop.EXHAUSTED and at_maximum:
    finish = pb.MAX_LENGTH
  return pb.Chunk(
    sample=sample,
    tokens=_packed(chunk.tokens, _INT32),
    logprobs=_packed(chunk.logprobs, _FLOAT32),
    policy_version=chunk.policy_version,
    finish=finish,
    error=chunk.error,
  )


def chunk_of(message: pb.Chunk, request: Request) -> Chunk:
  """The inverse: MAX_LENGTH is EXHAUSTED again.

  Raises:
    ValueError: a token without a log-probability.
  """
  is_longest = message.finish == pb.MAX_LENGTH
  tokens = _unpacked(message.tokens, _INT32, 'tokens')
  logprobs = _unpacked(message.logprobs, _FLOAT32, 'logprobs')
  if len(tokens) != len(logprobs):
    raise ValueError(f'{len(tokens)} tokens, {len(logprobs)} log-probabilities')
  return Chunk(
    request=request,
    tokens=tokens,
    logprobs=logprobs,
    policy_version=message.policy_version,
    stop=Stop.EXHAUSTED if is_longest else Stop(message.finish),
    error=message.error,
  )


def segment_message(segment: Any) -> pb.Segment:
  """A `data_types.Segment` as a message."""
  return pb.Segment(
    tokens=_packed(segment.tokens, _INT32),
    logprobs=_packed(segment.behavior_logprobs, _FLOAT32),
    policy_version=segment.policy_version,
  )


def settings_of(slots: SlotDecoder) -> str:
  """Short name of all but the weights that decides about tokens.

  Workers that share it sample the same tokens; another's are refused.
  """
  # Both decide how training computes, and nothing about sampling: a trainer and
  # its workers may differ in them.
  config = dataclasses.replace(slots.config, remat='none', logprob_chunk=1)
  settings = (
    config,
    slots.eos_ids,
    slots.repetition_count,
    slots.repetition_max_period,
    slots.repetition_min_tokens,
    slots.cache_dtype,
    'top_p',  # A worker that does not know it would ignore it.
  )
  if slots.sight is not None:
    settings += (slots.sight.processor,)
  return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def _all_but_the_sample(request):
  return (
    request.group_id,
    request.budget,
    request.temperature,
    request.top_p,
    request.seed,
    tuple(request.stop_ids),
  )


def _parser(kind, limit):
  def parse(data):
    if len(data) > limit:
      return Refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        f'a message of {len(data)} bytes; this worker reads up to {limit}',
      )
    try:
      return kind.FromString(data)
    except DecodeError:
      return Refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        f'{len(data)} bytes that are no {kind.DESCRIPTOR.full_name}',
      )

  return parse


def _kind(method):
  names = {False: 'unary', True: 'stream'}
  return f'{names[method.client_streaming]}_{names[method.server_streaming]}'


def _class(descriptor):
  return message_factory.GetMessageClass(descriptor)


def _packed(array, dtype):
  return np.asarray(array, dtype).tobytes()


def _unpacked(data, dtype, name):
  if len(data) % dtype.itemsize:
    raise ValueError(f'{name}: {len(data)} bytes are no {dtype.name} numbers')
  return np.frombuffer(data, dtype)
