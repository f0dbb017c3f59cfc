"""RL on answers in several right forms, judged by a reward model.

    python -m k15.main --config=experiments/judged.py:cot_rm \\
        --workdir=runs/judged

What is 3/4 is also 27/36 or 0.750.  A small policy is warmed up on answers in
such forms, half of them wrong; a reward model learns from pairs of answers with
their labels (k1.5 2.3.5), and RL has its verdicts for a reward.  A rule that
knows these forms judges beside it and earns nothing (`reward.truth`): the
report shows how often the model is deceived, and evaluations are the rule's.
Variants: 'cot_rm', 'classic_rm', and 'rule', which the others are compared
with; `_smoke` behind a name, or `:smoke` alone, runs it in seconds.
"""

from experiments import base

# One token each.
WORDS = (
  'question: "', '"\nreference: "', '"\nresponse: "', '"\n', ' equal parts',
  ' of ', ' shared by ', 'factor it', 'work it out', 'how much', 'x^2', ')(x',
  'in this order', 'in any order', ', ', ' and ', ' is ', ' yes', ' no', ' r',
  '\nso ', 'min', 'week', 'days', '\n</think>', '{"correct": ', 'true}',
  'false}', '1 ', '#### ',
)  # fmt: skip
VARIANTS = ('cot_rm', 'classic_rm', 'rule')


def get_config(variant='cot_rm'):
  name = 'cot_rm' if variant == 'smoke' else variant.removesuffix('_smoke')
  if name not in VARIANTS:
    raise ValueError(
      f'unknown variant {variant!r}; there are {VARIANTS} and :smoke'
    )
  config = base.get_config()
  config.tokenizer.words = WORDS
  config.policy.update(num_layers=3, logprob_chunk=4096)
  config.task.update(
    name='equal_answers', guess_rate=0.5, train_problems=192,
    held_out_problems=48,
  )  # fmt: skip
  config.rollout.update(
    max_prompt_length=24, max_length=16, token_budget=16, num_slots=128,
    tokens_per_call=8,
  )  # fmt: skip
  config.sft.update(num_examples=20000, steps=1200, batch_tokens=2048)
  config.rl.iterations = 40
  config.optimizer.update(learning_rate=1e-4, micro_batch_rows=32)
  config.evaluation.samples = 4
  _judge(config, name)
  if variant != name:
    _smoke(config)
  return config


def _judge(config, name):
  """The reward model of the run: what it learns from, and that it judges."""
  config.reward.update(truth='exact_answer', threads=32)
  config.reward_model.update(
    kinds=('fraction', 'decimal'), max_prompt_length=56, max_length=64,
    pairs=3200, held_out=160,  # of right decimals there are not many more
  )
  config.cot_rm.update(
    packing='best_fit', row_tokens=120, steps=800, batch_tokens=1920
  )
  # Without the texts it learns next to nothing from so few labels; see
  # docs/rewards.md.
  config.classic_rm.update(
    text_weight=1.0, steps=800, batch_tokens=3840, optimizer='muon',
    learning_rate=1e-2, end_learning_rate=3e-4,
  )  # fmt: skip
  config.stages = ('sft', 'rl')
  if name != 'rule':
    config.stages = ('sft', name, 'rl')
    config.reward.default = name


def _smoke(config):
  base.smoke(config)
  config.rollout.update(max_length=16, token_budget=16)
  config.task.update(train_problems=32, held_out_problems=8)
  config.evaluation.samples = 1
  config.reward_model.update(pairs=128, held_out=8)
  for stage in ('cot_rm', 'classic_rm'):
    config[stage].update(steps=4, warmup_steps=1)
