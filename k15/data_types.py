"""The types that flow through k15, and the words and axes used everywhere.

Read this page first.  Host types are frozen dataclasses of numpy arrays and
plain Python values; device types are pytrees (`flax.struct`).  Nothing is
both, so `jax.jit` refuses a host type and the border holds itself.

Paper (Kimi k1.5, arXiv 2501.12599) -> code:

  (y, z)      response: the tokens a policy writes after a prompt
  k           group_size: responses sampled for one problem
  tau         loss.tau: strength of the pull towards pi_theta_i
  r, r-bar    reward, baseline; their difference is the advantage
  pi_theta_i  reference: the policy at the start of iteration i
  s_i         success_rate of problem i
  len(i)      length: tokens in response i

Words that collide elsewhere, settled here:

  reference   the policy an update is pulled towards  (ref_logprobs)
  behavior    the policy that really sampled a token  (behavior_logprobs)
  iteration   one rollout phase and one training phase (the paper's i)
  step        one optimizer update
  segment     of a Trajectory: tokens sampled by one policy version in one
              iteration (paper, Fig. 3b); `segment_ids` of a Batch: which
              packed sequence a token belongs to
  group_id    number of one draw of a problem; a problem drawn twice makes two
              groups, and (group_id, sample_index) names a response for good

Axes, as suffixes of arrays where they help:

  B rows of a batch    T tokens of a row     S sequences packed in a row
  P prompts            K samples of a group  V vocabulary
  D model width        H query heads         N key-value heads    h head width
  C cache columns      L layers
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class ImageRef:
  """A picture by what it shows; its pixels are in `k15.vision.store`.

  `digest` is that of `k15.vision.images`; `height` and `width` count pixels,
  and `source` says where it is from.
  """

  digest: str
  height: int
  width: int
  source: str


@dataclasses.dataclass(frozen=True)
class Problem:
  """A question with a checkable answer.

  `difficulty` is a static label in [0, 1], or None: there is none.  `domain`
  routes the reward and splits the curves of the report; `discipline` is the
  subject within it.  `images` are its pictures, in the order of the '<image>'
  in the prompt that say where they stand; without any, they stand in front.
  """

  id: str
  prompt: str
  answer: str
  domain: str = ''
  difficulty: float | None = None
  discipline: str = ''
  images: tuple[ImageRef, ...] = ()

  @property
  def digests(self) -> tuple[str, ...]:
    """With the prompt, what is asked: two prompts may be of two pictures."""
    return tuple(image.digest for image in self.images)


@dataclasses.dataclass(frozen=True)
class Example:
  """A problem and, where there is one, a worked solution of it."""

  problem: Problem
  response: str | None = None


class StopReason(enum.Enum):
  """Why a response stopped growing in this iteration."""

  EOS = 'eos'  # The policy ended it.
  BUDGET = 'budget'  # Cut by the iteration's token budget: resumes next.
  MAX_LENGTH = 'max_length'  # Reached the longest response allowed.
  REPETITION = 'repetition'  # Caught in a loop and terminated early.
  AGE = 'age'  # Given up: its group had waited too long to be resumed.


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
  """Tokens sampled by one policy version within one iteration.

  Attributes:
    tokens: int32 [T], the end-of-sequence token included when sampled.
    behavior_logprobs: float32 [T], nats, of the untruncated tempered
      distribution the tokens were sampled from.
    policy_version: iteration whose starting policy sampled them.
  """

  tokens: np.ndarray
  behavior_logprobs: np.ndarray
  policy_version: int


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
  """One response to one problem, possibly grown over several iterations.

  `stop` is None before the first token; BUDGET means unfinished.  `reward` is
  the raw reward, None until the finished response has been scored, and `parts`
  what it is made of, by name: 'accuracy' in [0, 1] and whatever the reward
  adds to it, each before its weight.
  """

  group_id: int
  problem_id: str
  sample_index: int
  segments: tuple[Segment, ...] = ()
  stop: StopReason | None = None
  reward: float | None = None
  parts: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @property
  def tokens(self) -> np.ndarray:
    """int32 [T], all segments joined."""
    parts = [segment.tokens for segment in self.segments]
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)

  @property
  def behavior_logprobs(self) -> np.ndarray:
    """float32 [T], all segments joined."""
    parts = [segment.behavior_logprobs for segment in self.segments]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)

  @property
  def length(self) -> int:
    """Response length in tokens, the paper's len(i)."""
    return sum(len(segment.tokens) for segment in self.segments)

  @property
  def is_finished(self) -> bool:
    return self.stop not in (None, StopReason.BUDGET)

  @property
  def accuracy(self) -> float | None:
    """The part that says how right it is; of a reward without parts, all."""
    return self.parts.get('accuracy', self.reward)


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
  """One draw of a problem and its k responses, in order of sample_index.

  `opened_at` is the iteration of the draw; with it, a group's age is known.
  Where responses are trained on as they arrive, `trajectories` are those of an
  iteration, and `earlier` those before them, which are compared with alone.
  """

  group_id: int
  problem: Problem
  trajectories: tuple[Trajectory, ...]
  opened_at: int = 0
  earlier: tuple[Trajectory, ...] = ()

  @property
  def known(self) -> tuple[Trajectory, ...]:
    """All whose rewards make a baseline, in the order in which they came."""
    return *self.earlier, *self.trajectories

  @property
  def is_complete(self) -> bool:
    return all(t.is_finished for t in self.trajectories)


@flax.struct.dataclass
class Batch:
  """Packed sequences for one optimizer step.

  Sequence s of row b holds the tokens with `segment_ids[b] == s + 1`; id 0 is
  padding.  Per-sequence values are [B, S], zero where there is no sequence.  A
  prompt that several responses share is a sequence too, with nothing in the
  loss; each response then begins with the prompt's last token.
  Rows from `num_rows` on are empty: the step skips them without recompiling.

  Attributes:
    tokens: int32 [B, T].
    positions: int32 [B, T], counted from 0 in every sequence; behind a shared
      prompt from where that ends.
    segment_ids: int32 [B, T].
    loss_mask: float32 [B, T], 1 on target tokens that enter the loss.  Token
      t is predicted from the tokens before it in its sequence.
    ref_logprobs: float32 [B, T], log pi_theta_i of each target token, nats.
    kl_logprobs: float32 [B, T], the same under GRPO's slow reference.
    behavior_logprobs: float32 [B, T], the same as the rollout computed it
      when it sampled the token.
    current_mask: float32 [B, T], 1 on tokens that pi_theta_i itself sampled.
    advantage: float32 [B, S].
    pg_weight: float32 [B, S], weight of the policy-gradient term.
    reg_weight: float32 [B, S], weight of the regularizer.
    num_rows: int32 [], rows in use, first ones.
    prompt_ids: int32 [B, T], the segment of which a token sees the earlier
      tokens beside those of its own, which it is itself where the prompt is not
      shared; None: no prompt is.
    domain_ids: int32 [B, T], the domain of the document that a token is of,
      from 0; None: documents are no part of it.
    images: the rows' pictures, `k15.vision.rows.Images`; None: none are seen.
    features: what a tower that is not trained makes of them, `k15.model.tower.
      Features`; their patches are then None, and not looked at.
  """

  tokens: jax.Array
  positions: jax.Array
  segment_ids: jax.Array
  loss_mask: jax.Array
  ref_logprobs: jax.Array
  kl_logprobs: jax.Array
  behavior_logprobs: jax.Array
  current_mask: jax.Array
  advantage: jax.Array
  pg_weight: jax.Array
  reg_weight: jax.Array
  num_rows: jax.Array
  prompt_ids: jax.Array | None = None
  domain_ids: jax.Array | None = None
  images: Any = None
  features: Any = None


@flax.struct.dataclass
class TrainState:
  """What an optimizer step changes.

  `step` counts all updates since the start of the stage and drives the
  learning-rate schedule; resetting `opt_state` leaves it alone.  `params` are
  what is trained: all parameters, or adapters of those in `frozen`, which no
  step changes.
  """

  params: Any
  opt_state: Any
  step: jax.Array
  frozen: Any = None
