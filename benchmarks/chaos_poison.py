"""Requests that no worker should take, and what it has to answer."""

import grpc
import numpy as np

from k15.rollout import rollout_pb2 as pb
from k15.rollout import wire

_REFUSALS = (
  grpc.StatusCode.INVALID_ARGUMENT,
  grpc.StatusCode.RESOURCE_EXHAUSTED,
  grpc.StatusCode.FAILED_PRECONDITION,  # It has no weights just now.
)
_NOT_THERE = (
  grpc.StatusCode.UNAVAILABLE,  # Killed.
  grpc.StatusCode.DEADLINE_EXCEEDED,  # Stopped.
)


def _group(prompt=(1, 2, 3), samples=(0,), budget=4, **fields):
  return pb.Group(
    group_id=1 << 20,
    sample_indices=samples,
    prompt=np.asarray(prompt, '<i4').tobytes(),
    token_budget=budget,
    **fields,
  )


def groups() -> dict[str, pb.Group]:
  """By what is wrong with each."""
  return {
    'a prompt of 100,000 tokens': _group(np.ones(100_000)),
    'an id beyond the vocabulary': _group([1, 1_000_000]),
    'a negative id': _group([-1, 1]),
    'an empty prompt': _group([]),
    'a negative budget': _group(budget=-5),
    'a budget of 2^62': _group(budget=1 << 62),
    'NaN temperature': _group(temperature=float('nan')),
    'a negative temperature': _group(temperature=-1.0),
    'five stop ids': _group(stop_ids=range(5)),
    'a message of 10 MB': _group(np.ones(2_500_000)),
    '10,000 samples at once': _group(samples=range(10_000)),
    'no sample': _group(samples=()),
    'three bytes of an int32': pb.Group(
      group_id=1, sample_indices=[0], prompt=b'abc', token_budget=4
    ),
  }


def poison(port: int, rng, seconds: float = 5.0) -> bool:
  """Sends one to a worker; False if the worker did not answer at all.

  Raises:
    RuntimeError: it was taken, or refused without a proper status.
  """
  name, group = rng.choice(list(groups().items()))
  with grpc.insecure_channel(f'127.0.0.1:{port}') as channel:
    submit = wire.Stub(channel).Submit
    try:
      replies = submit(
        iter([pb.SubmitRequest(groups=[group])]), timeout=seconds
      )
      taken = sum(len(reply.chunks) for reply in replies)
    except grpc.RpcError as error:
      if error.code() in _NOT_THERE:
        return False
      if error.code() in _REFUSALS and error.details():
        return True
      raise RuntimeError(f'{name}: {error.code()}, {error.details()}') from None
  raise RuntimeError(f'{name}: taken, {taken} chunks')
