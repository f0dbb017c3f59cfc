"""What the ablations share: one task and policy at three scales, and arms.

`:cpu` takes about a minute of one core for each run and shows the effect;
`:tune` is the sweep that chose its learning rates, with seeds that no figure
shows; `:smoke` shows in seconds that a sweep runs; `:paper` is for 64 chips of
TPU v5p (`launch/plan/__main__.py` says what it costs), with a checkpoint from
the hub,
--config.checkpoint, and problems in MATH's form, --config.task.train_path.

The task is a fair one for what is asked of it.  Every problem has many valid
chains of thought (searches begin anywhere); the warm-up taught bad habits (to
guess at once, to give up), which are right in none of its texts, and good ones,
which cost tokens; the pass rates of problems span 0 to 1.  A habit is so told
by a single right response.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments import arithmetic
from experiments import math
from experiments import pod
from experiments import sweeps

CPU = ('cpu', 'tune')  # variants of this scale
RATE = 'optimizer.learning_rate'
SEEDS = 5  # of every arm of a figure, where its page asks for no more
RATES = (1e-4, 2e-4, 4e-4)  # tried for each arm
# Beyond those of any figure.  An arm's rate is the best in their mean, so that
# a rate at which one of three runs collapses is not chosen.
TUNING_SEEDS = (8, 9, 10)
RUNS = 'runs/reproduce'  # where the models of warm-ups are expected
# That a sweep of warm-ups lists; `make reproduce` runs those that are needed.
WARM_UP_SEEDS = (*range(8), *TUNING_SEEDS)
# Of long2short RL: what nine of ten right responses of a long model have, 42 to
# 56 tokens in pilots, and some more.
SHORT_LENGTH = 60


def get_config(variant='cpu'):
  """The config that all arms change; 'cpu', 'tune', 'smoke' or 'paper'."""
  if variant not in _SCALES:
    raise ValueError(f'unknown variant {variant!r}; there are {list(_SCALES)}')
  config = _SCALES[variant]()
  if variant == 'cpu':
    set_last(config)
  return config


def sweep(
  arms: Mapping[str, Mapping[str, Any]],
  variant: str,
  paper: Mapping[str, Mapping[str, Any]] | None = None,
  model: str = 'sft',
  warm_up: str = 'warm_up',
  count: int = SEEDS,
  rates: Sequence[float] = RATES,
) -> Iterator[dict[str, Any]]:
  """All arms with all seeds of a scale.

  Args:
    arms: overrides by label, the learning rate tuned for cpu scale among them.
    variant: the scale.
    paper: the same at paper scale, where that needs other values.
    model: which stage of the warm-up run the arms begin with, at cpu scale.
    warm_up: which warm-up; empty: arms make one of their own.
    count: seeds of a figure, at most 8.
    rates: that `:tune` tries.
  """
  if variant == 'cpu':
    return sweeps.product(
      sweeps.arms(arms), seeds(range(count), model, warm_up)
    )
  if variant == 'tune':
    return sweeps.product(
      _untuned(arms), sweeps.over(RATE, rates),
      seeds(TUNING_SEEDS, model, warm_up),
    )  # fmt: skip
  if variant == 'paper':
    return sweeps.product(_untuned(paper or arms), sweeps.seeds(1))
  return sweeps.product(_untuned(arms), sweeps.seeds(2))


def _untuned(arms):
  return [{k: v for k, v in arm.items() if k != RATE} for arm in arms.values()]


def seeds(numbers=range(SEEDS), model='sft', warm_up='warm_up'):
  """Seeds, each with the warm-up of its own, if there is one."""
  if not warm_up:
    return sweeps.over('seed', numbers)
  return [
    {'seed': n, 'checkpoint': f'{RUNS}/{warm_up}/seed={n}/models/{model}'}
    for n in numbers
  ]


def warm_up_sweep(variant='cpu'):
  """Of a warm-up: every seed that a figure or a choice of rates may need."""
  del variant
  return sweeps.over('seed', WARM_UP_SEEDS)


def set_checks(config):
  """Divisions, whose results the warm-up checks more often than it pays."""
  config.task.kinds = ('pay', 'remainder', 'divide')
  config.task.check_rate = 0.7


def set_last(config, samples=4):
  """More samples at the last three evaluations, and greedy ones.

  One sample of 256 problems has a standard error of 0.026, as much as the
  differences that are asked for; these are what 'final' is the mean of.  Areas,
  which choose a rate, do without.
  """
  config.evaluation.update(
    last_samples=samples, last_greedy=True, pass_at=(1, samples)
  )


def set_short(config):
  """What the stages of long2short take at cpu scale."""
  config.evaluation.update(every=6, samples=4)
  config.long2short.problems = 512
  config.shortest.update(steps=60, learning_rate=5e-4, batch_tokens=2048)
  config.dpo.update(steps=48, learning_rate=3e-5, batch_pairs=32)
  config.short_rl.update(
    iterations=36, max_length=SHORT_LENGTH, length_weight=0.2
  )


def _cpu():
  config = arithmetic.get_config()
  config.stages = ('rl',)
  config.policy.update(
    num_layers=2, d_model=64, num_heads=2, num_kv_heads=2, d_ff=160
  )
  config.task.kinds = ('pay', 'remainder', 'add')
  config.task.give_up_rate = 0.5
  config.task.guess_rate = 0.7
  config.task.train_problems = 1024
  config.task.held_out_problems = 256
  config.sft.num_examples = 30000
  config.sft.steps = 1200
  config.rl.iterations = 24
  config.rl.problems_per_iteration = 32
  config.rollout.max_length = 160
  config.rollout.token_budget = 160
  config.optimizer.learning_rate = 2e-4
  config.evaluation.every = 3
  return config


def _smoke():
  config = arithmetic.get_config('smoke')
  config.rl.iterations = 2
  config.rollout.max_length = 160
  config.rollout.token_budget = 40
  config.evaluation.every = 1
  config.long2short.problems = 8
  config.dpo.steps = 2
  config.dpo.warmup_steps = 0
  config.dpo.batch_pairs = 2
  config.short_rl.iterations = 2
  return config


def _paper(shape='qwen25_7b_128k'):
  config = pod.get_config(shape)
  math.set_task(config)
  config.rl.iterations = 150
  config.rl.problems_per_iteration = 256
  config.evaluation.every = 4  # as in Fig. 5
  config.shortest.batch_tokens = 1 << 20
  config.short_rl.max_length = 16384
  return config


def _paper_large():
  return _paper('qwen25_32b_128k')


_SCALES = {
  'cpu': _cpu,
  'tune': _cpu,
  'smoke': _smoke,
  'paper': _paper,
  'paper_large': _paper_large,
}
