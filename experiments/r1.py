"""DeepSeek-R1: four stages from a base model (arXiv 2501.12948, 2.3).

    python -m k15.main --config=experiments/r1.py --workdir=runs/r1 \\
        --config.checkpoint=Qwen2.5-7B \\
        --config.sft.files="('cold_start.jsonl',)" \\
        --config.rejection_sft.files="('general.jsonl',)" \\
        --config.task.train_path=math_train.json \\
        --config.task.held_out_path=math500.json

`sft` is the cold start, on long chains of thought that people can read,
thinking in tags and then a summary; `rl` is GRPO with the language reward
beside the right answer; `rejection_sft` teaches the base anew what that model
got right, with one example in four of general use; `rl_all` is RL for all
scenarios.  k1.5's loss takes GRPO's place by
--config.loss.method=mirror_descent.  For problems that no rule judges, in the
last iterations of `rl_all`:

    --config.reward.routes="('chat:summary(HELPFUL)+HARMLESS',)" \\
    --config.rl_all.late_domains="('chat:81',)"

with rewards that are preferences in the places of the capitals.

`:smollm` takes the cold start from worked word problems, for SmolLM2-135M or
any small model.  `:arithmetic` needs no checkpoint: a small policy learns
worked solutions, part of which lack the tags and whose lines are in one of two
languages, and `add` problems stand for those that come late: 23 minutes of one
core, in which `reward/language` rises from 0.63 to 0.98 (docs/r1.md).  `:smoke`
does the same in three minutes and learns nothing.
"""

import pathlib

from experiments import arithmetic
from experiments import r1_zero
from experiments import smollm

# Conversations of general use: 'hello' wants no chain of thought.
GENERAL = str(pathlib.Path(__file__).parent / 'general.jsonl')


def get_config(variant=''):
  make = dict(smollm=_smollm, arithmetic=_arithmetic, smoke=_smoke)
  if variant and variant not in make:
    raise ValueError(f'unknown variant {variant!r}; there are {list(make)}')
  config = make.get(variant, _math)()
  config.stages = ('sft', 'rl', 'rejection_sft', 'rl_all')
  config.rejection_sft.script = 'latin'
  return config


def _math():
  config = r1_zero.on_pod()
  config.reward.default = 'math_answers+r1_latin'
  for stage in (config.sft, config.rejection_sft):
    stage.update(
      packing='first_fit', row_tokens=32768, batch_tokens=1 << 21, epochs=2,
      optimizer='adam', learning_rate=1e-5, end_learning_rate=1e-6,
    )  # fmt: skip
  config.sft.warmup_steps = config.rejection_sft.warmup_steps = 5
  config.rejection_sft.from_checkpoint = True
  return config


def _smollm():
  config = smollm.get_config()
  r1_zero.set_grpo(config)
  config.task.thinking = 'think'
  config.rollout.max_length = 224  # two more lines of tags
  config.reward.default = 'math_answers+r1_latin'
  config.rejection_sft.update(
    batch_tokens=1024, epochs=1, learning_rate=1e-4, end_learning_rate=1e-5,
    problems=512, from_checkpoint=True,
  )  # fmt: skip
  config.rl_all.iterations = 10
  return config


def _arithmetic(variant=''):
  config = arithmetic.get_config(variant)
  r1_zero.set_grpo(config)
  r1_zero.set_languages(config)
  config.task.update(thinking='think', formless_rate=0.1)
  config.reward.default = 'exact_answer+r1_latin'
  # A stand-in: what rules judge too, so that it can be measured.
  config.reward.routes = ('add:exact_answer+0.5*r1_latin',)
  config.rejection_sft.update(
    files=(GENERAL,), batch_tokens=2048, learning_rate=1e-4,
    end_learning_rate=1e-5, problems=1024, epochs=1,
  )  # fmt: skip
  config.rl_all.update(iterations=12, late_domains=('add:8',))
  return config


def _smoke():
  config = _arithmetic('smoke')
  arithmetic.smoke_with_right_answers(config)
  config.task.update(guess_rate=0.0, mixing_rate=0.1)
  config.rollout.temperature = 0.5  # more of what is sampled is right
  config.rl.iterations = 2
  config.rejection_sft.update(
    problems=64, samples=4, warmup_steps=0, least_script_share=0.0
  )
  config.rl_all.iterations = 2
  return config
