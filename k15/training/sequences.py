"""Responses and examples as sequences, and which of their tokens count.

What is here has no shape of a batch yet: `batching` packs it.
"""

import dataclasses
import re

import numpy as np

from k15.data_types import ImageRef, Trajectory


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
  """A prompt, a response to it, and how the response enters the loss.

  Attributes:
    prompt_tokens: int32 [T'], at least one: the first token of a sequence
      has nothing before it to be predicted from.
    response_tokens: int32 [T].
    loss_mask: bool [T], response tokens that enter the loss.
    advantage: of the whole response.
    pg_weight: of the policy-gradient term.
    reg_weight: of the regularizer.
    behavior_logprobs: float32 [T], nats, what the rollout computed.
    is_current: bool [T], response tokens that the current version sampled.
    images: the pictures of the prompt, in order.
  """

  prompt_tokens: np.ndarray
  response_tokens: np.ndarray
  loss_mask: np.ndarray
  advantage: float = 0.0
  pg_weight: float = 0.0
  reg_weight: float = 0.0
  behavior_logprobs: np.ndarray | float = 0.0
  is_current: np.ndarray | bool = False
  images: tuple[ImageRef, ...] = ()

  def __post_init__(self):
    if not len(self.prompt_tokens):
      raise ValueError('a sequence needs at least 1 prompt token')
    if len(self.loss_mask) != len(self.response_tokens):
      raise ValueError(
        f'loss mask of {len(self.loss_mask)} for a response of'
        f' {len(self.response_tokens)} tokens'
      )

  @property
  def length(self) -> int:
    """Tokens, prompt included."""
    return len(self.prompt_tokens) + len(self.response_tokens)

  @property
  def loss_tokens(self) -> int:
    """Tokens in the loss, what `advantages.sequence_weights` asks for."""
    return int(np.count_nonzero(self.loss_mask))


def sequence_of(
  trajectory: Trajectory,
  prompt_tokens: np.ndarray,
  loss_segments: str,
  current_version: int,
  advantage: float = 0.0,
  images: tuple[ImageRef, ...] = (),
) -> Sequence:
  """Makes a sequence of a response; its weights come by `with_weights`.

  Kimi k1.5, section 2.6.2, lets segments be left out of the loss; tokens
  left out still are context for those after them.

  Args:
    trajectory: the response.
    prompt_tokens: int32 [T'].
    loss_segments: 'all', 'last' or 'last:m', see `segments_in_loss`.
    current_version: the current iteration.
    advantage: of the response.
    images: the pictures of the prompt.

  Raises:
    ValueError: if `loss_segments` is none of them.
  """
  versions = [segment.policy_version for segment in trajectory.segments]
  counts = [len(segment.tokens) for segment in trajectory.segments]
  versions = np.repeat(np.array(versions, int), np.array(counts, int))
  return Sequence(
    prompt_tokens,
    trajectory.tokens,
    segments_in_loss(versions, loss_segments),
    advantage,
    behavior_logprobs=trajectory.behavior_logprobs,
    is_current=versions == current_version,
    images=images,
  )


def segments_in_loss(versions: np.ndarray, loss_segments: str) -> np.ndarray:
  """Which tokens of a response enter the loss.

  The last segments are the response's own, whenever it was that it ended.
  Counted from the current iteration instead, a response that ended before the
  others of its group would leave the loss, and the advantages of those that
  stay would no longer add up to 0.

  Args:
    versions: int [T], which policy sampled each token, ascending; tokens of
      one version are a segment.
    loss_segments: 'all', 'last', or 'last:m' for the last m >= 1.

  Returns:
    bool [T].

  Raises:
    ValueError: if `loss_segments` is none of them.
  """
  known = re.fullmatch(r'all|last(?::([1-9][0-9]*))?', loss_segments)
  if not known:
    raise ValueError(
      f"loss_segments is {loss_segments!r}, not 'all', 'last' or 'last:m'"
    )
  if loss_segments == 'all':
    return np.ones(len(versions), bool)
  segments = np.unique(versions)[-int(known[1] or 1) :]
  return np.isin(versions, segments)


def with_weights(sequences, pg_weights, reg_weights) -> list[Sequence]:
  """Returns the sequences with the weights, one of each per sequence."""
  return [
    dataclasses.replace(sequence, pg_weight=pg, reg_weight=reg)
    for sequence, pg, reg in zip(
      sequences, pg_weights, reg_weights, strict=True
    )
  ]
