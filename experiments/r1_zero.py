"""DeepSeek-R1-Zero: RL on a base model, and no SFT (arXiv 2501.12948, 2.2).

    python -m k15.main --config=experiments/r1_zero.py --workdir=runs/r1_zero \\
        --config.checkpoint=Qwen2.5-7B \\
        --config.task.train_path=math_train.json \\
        --config.task.held_out_path=math500.json

The paper's template asks for thinking and an answer in tags; the reward is the
right answer and the form, by rules; the loss is GRPO with the published
settings.  k1.5's takes its place by --config.loss.method=mirror_descent.  Sizes
are for a policy of 7B; the paper's own base is DeepSeek-V3's.  After 8,200
steps responses may have twice the length: `:longer`, with the first run's
workdir as checkpoint.  What it costs on chips that need not exist:

    python -m launch.plan --config=experiments/r1_zero.py \\
        --topology=v5p:4x4x4 --config.task.train_path=math_train.json \\
        --config.task.held_out_path=math500.json

`:smollm` is for SmolLM2-135M, or any small model, on word problems.
`:arithmetic` needs no checkpoint: a short warm-up stands for the base model,
which keeps the form in half of its responses and mixes two languages: 16
minutes of one core, in which `reward/format` goes from 0.47 to 0.98, accuracy
rises, and `reward/language` stays where it was, for nothing is paid for it
(docs/r1.md).  `:smoke` does the same in a minute and learns nothing.
"""

from experiments import arithmetic
from experiments import math
from experiments import pod
from experiments import smollm

# Table 1 of the paper.
TEMPLATE = (
  'A conversation between User and Assistant. The user asks a question, and '
  'the Assistant solves it. The assistant first thinks about the reasoning '
  'process in the mind and then provides the user with the answer. The '
  'reasoning process and answer are enclosed within <think> </think> and '
  '<answer> </answer> tags, respectively, i.e., <think> reasoning process '
  'here </think> <answer> answer here </answer>. User: {prompt}. Assistant:'
)
# One token each: the two halves of the template, tags, and Chinese words.
_WORDS = (
  *TEMPLATE.split('{prompt}'),
  '<think>\n', '</think>\n', '<answer>\n', '\n</answer>',
  '计划 竖式\n', '计划 逐位\n', '计划 搜索\n', '尝试 ', '验算 ', ' 等等 ',
  ' 得到 ', ' 要求 ', '猜测\n', '放弃\n', ' 对\n', ' 错\n',
)  # fmt: skip


def get_config(variant=''):
  make = dict(
    longer=_longer, smollm=_smollm, arithmetic=_arithmetic, smoke=_smoke
  )
  if variant and variant not in make:
    raise ValueError(f'unknown variant {variant!r}; there are {list(make)}')
  config = make.get(variant, _math)()
  set_template(config)
  return config


def set_template(config):
  """The template around a question, and nothing behind it."""
  config.task.template = TEMPLATE
  config.task.prompt_suffix = ''
  config.task.system_prompt = ''


def set_grpo(config):
  """The loss and the published settings of both of R1's reasoning RLs."""
  config.loss.update(
    method='grpo', pg_norm='seq_mean', reg_norm='seq_mean', grpo_beta=0.001,
    grpo_clip=10.0,  # of R1; that of R1-Zero is not published
    grpo_reference_interval=400,
  )  # fmt: skip
  config.optimizer.reset_every_iteration = False


def set_steps(config):
  """8,192 responses an iteration, 16 to a question, in 16 steps, once."""
  config.rl.update(
    problems_per_iteration=512, group_size=16, updates_per_iteration=16,
    epochs=1, iterations=650,  # 10,400 steps
  )  # fmt: skip
  config.optimizer.learning_rate = 3e-6
  config.rollout.temperature = 1.0


def set_languages(config):
  """Warm-up solutions that keep the form in half, and mix two languages."""
  config.tokenizer.words = (*config.tokenizer.words, *_WORDS)
  config.task.update(formless_rate=0.5, mixing_rate=0.3)


def on_pod(columns=32768):
  """Mathematics and a 7B policy on 64 chips, rows of so many tokens."""
  config = pod.get_config(
    'qwen25_7b_32k' if columns == 32768 else 'qwen25_7b_128k'
  )
  math.set_task(config)
  config.policy.cache_block = columns // 8
  config.rollout.max_length = columns - config.rollout.max_prompt_length
  config.rollout.token_budget = config.rollout.max_length
  set_grpo(config)
  set_steps(config)
  config.evaluation.every = 25
  return config


def _math(columns=32768):
  config = on_pod(columns)
  config.reward.default = 'math_answers+r1_format'
  return config


def _longer():
  config = _math(65536)
  config.rl.iterations = 138  # 2,200 steps
  return config


def _smollm():
  config = smollm.get_config()
  set_grpo(config)
  config.stages = ('rl',)
  config.rollout.max_prompt_length = 320  # the template has 110 more
  config.reward.default = 'math_answers+r1_format'
  config.sft.batch_tokens = 2048
  return config


def _arithmetic(variant=''):
  config = arithmetic.get_config(variant)
  set_grpo(config)
  set_languages(config)
  config.task.thinking = 'answer'
  config.sft.steps = 2000
  # The language is measured, and nothing is paid for it.
  config.reward.default = 'exact_answer+r1_format+0*r1_latin'
  return config


def _smoke():
  config = _arithmetic('smoke')
  arithmetic.smoke_with_right_answers(config)
  config.rl.iterations = 2
  return config
