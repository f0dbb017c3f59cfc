"""One row a stage: what runs it, when it is done, what it reads.

A new stage is a row here, a group of keys in `experiments/base.py` and
`keys`, and a page of `k15/stages` with a row in `kinds` if none of its kind is
there yet.  Checks, resuming, the report and the comparison of runs read rows.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Stage:
  """A row.

  Attributes:
    kind: what runs it, a row of `k15/stages/kinds.py`.
    curves: what it logs, 'text', 'sft', 'value', 'dpo' or 'rl', of which charts
      are drawn; '' nothing.
    title: of its section in the report, where it has curves.
    done: keys of the stage's own group; the first that is not 0 says after how
      many epochs, steps or iterations it is done.  None: at once.
    reads: groups of keys that not every stage reads, its own among them.  Until
      a stage has begun that reads them, they may change.
    stream: the number of its random streams, given once and for good: another
      would change every draw.  0: it draws nothing for itself.
  """

  kind: str
  curves: str = ''
  title: str = ''
  done: tuple[str, ...] = ()
  reads: tuple[str, ...] = ()
  stream: int = 0

  @property
  def makes_model(self) -> bool:
    """Whether it leaves a policy, which is evaluated."""
    return self.kind not in ('curate', 'evaluate') and not self.makes_judge

  @property
  def makes_judge(self) -> bool:
    """Whether it leaves a reward model, from which no stage goes on."""
    return self.kind in ('classic_rm', 'cot_rm')


_EPOCHS_OR_STEPS = ('epochs', 'steps')
_RL = ('rl', 'loss', 'problem_sampler')
# What an endless family has lessons for, with pictures and without.
READING = ('pretrain_text', 'pretrain_tower', 'pretrain_joint')
# In the order of a run; 'curate' may also come after 'sft' and 'sft_long'.
STAGES = {
  'pretrain': Stage(
    'text', 'text', 'Pretraining', ('steps',), ('documents', 'pretrain'), 120
  ),
  'pretrain_text': Stage(
    'sft', 'sft', 'Pretraining on texts that are read', _EPOCHS_OR_STEPS,
    ('pretrain_text',), 124,
  ),
  'pretrain_tower': Stage(
    'sft', 'sft', 'Pretraining of the vision tower', _EPOCHS_OR_STEPS,
    ('pretrain_tower',), 125,
  ),
  'pretrain_joint': Stage(
    'sft', 'sft', 'Joint pretraining with pictures', _EPOCHS_OR_STEPS,
    ('pretrain_joint',), 126,
  ),
  'cooldown': Stage(
    'text', 'text', 'Cooldown', ('steps',),
    ('documents', 'cooldown', 'cooldown_questions'), 121,
  ),
  'long_context': Stage(
    'text', 'text', 'Long-context activation', ('steps',),
    ('documents', 'long_context'), 122,
  ),
  'curate': Stage('curate', stream=107),
  'sft': Stage(
    'sft', 'sft', 'Supervised warm-up', _EPOCHS_OR_STEPS, ('sft',), 100
  ),
  'sft_long': Stage(
    'sft', 'sft', 'Supervised fine-tuning, long rows', _EPOCHS_OR_STEPS,
    ('sft', 'sft_long'), 101,  # sft.num_examples
  ),
  'classic_rm': Stage(
    'classic_rm', 'value', 'Classic reward model', ('steps',),
    ('reward_model', 'classic_rm'), 106,
  ),
  'cot_rm': Stage(
    'cot_rm', 'sft', 'Chain-of-thought reward model', _EPOCHS_OR_STEPS,
    ('reward_model', 'cot_rm'), 123,
  ),
  'long_cot': Stage(
    'long_cot', 'sft', 'Long-CoT warm-up', _EPOCHS_OR_STEPS,
    ('long_cot', 'long_cot_examples'), 102,
  ),
  'rl': Stage(
    'rl', 'rl', 'Reinforcement learning', ('iterations',),
    (*_RL, 'length_reward', 'reward_model'), 103,
  ),
  'rejection_sft': Stage(
    'rejection_sft', 'sft', 'Rejection sampling, and supervised fine-tuning',
    _EPOCHS_OR_STEPS, ('long2short', 'rejection_sft'), 112,
  ),
  'rl_all': Stage(
    'rl', 'rl', 'Reinforcement learning for all scenarios',
    ('iterations',), (*_RL, 'length_reward', 'rl_all'), 113,
  ),
  'merge': Stage('merge', reads=('long2short',)),
  'shortest': Stage(
    'shortest', 'sft', 'Long2short: the shortest correct responses',
    _EPOCHS_OR_STEPS, ('long2short', 'shortest'), 104,
  ),
  'dpo': Stage(
    'dpo', 'dpo', 'Long2short: preferences', ('steps',), ('long2short', 'dpo'),
    111,
  ),
  'short_rl': Stage(
    'short_rl', 'rl', 'Long2short: reinforcement learning', ('iterations',),
    (*_RL, 'long2short', 'short_rl', 'reward_model'), 105,
  ),
  'evaluate': Stage('evaluate', stream=110),
}  # fmt: skip


def with_curves(curves: str) -> tuple[str, ...]:
  """Stages that log the like: 'sft' are those with keys of supervision."""
  return tuple(s for s, row in STAGES.items() if row.curves == curves)


def total(config: Any, stage: str) -> int:
  """After how many epochs, steps or iterations a model is made."""
  found = [config[stage][key] for key in STAGES[stage].done]
  return next(filter(None, found), 0) if found else 1


def learns_examples(config: Any) -> bool:
  """Whether anything of a run reads worked solutions of the task."""
  kinds = {STAGES[stage].kind for stage in config.stages}
  return bool(kinds & {'sft', 'curate'} or config.loss.ptx_weight)


def may_read(group: str, stages: Sequence[str]) -> bool:
  """Whether one of the stages reads a group; what no row names, any may."""
  found = {stage for stage, row in STAGES.items() if group in row.reads}
  return not found or bool(found & set(stages))
