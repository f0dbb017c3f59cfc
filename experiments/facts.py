"""Warm-up, then RL, of a small policy that has learnt wrong facts fluently.

    python -m k15.main --config=experiments/facts.py --workdir=runs/facts

A problem is a walk over a table of facts (`k15/data/facts/`).  The writer of
the warm-up has one misconception of each fact, states it more often than not,
and what is asked is so coarse that a wrong step is harmless in 45 of 100 walks.
So most right responses rest on misconceptions, and what wrong ones say matters.
What a warm-up holds, before anything runs:

    python -m benchmarks.quality.facts --config=experiments/facts.py

`:curriculum` has easy facts and hard ones: four problems of five are easy, and
hard ones take easy facts too.  `:search` asks for the place itself; its writer
checks and goes round again, which takes tokens and pays.  Cost: 2 minutes of a
core.  `:smoke` runs all stages in under a minute and learns nothing.
"""

from experiments import base

# One token each: all that chains are made of, see `k15/data/facts/table.py`.
WORDS = (
  'from', ':', ', land?', ', place?', 'go', 'again', ' check', ' yes', ' no',
  '\n#### ',
  *(
    f'{space}{name}'
    for name in (
      'mill', 'inn', 'farm', 'well', 'ford', 'barn', 'dock', 'gate', 'hill',
      'cave', 'pond', 'mine',
    )
    for space in (' ', '')
  ),
  ' red', ' blue', ' gold', ' green', ' black', ' white', ' grey', ' pink',
  ' brown', ' amber', ' teal', ' plum',
  'north', 'south', 'east', 'west',
)  # fmt: skip


def get_config(variant=''):
  config = base.get_config()
  config.task.name = 'facts'
  config.tokenizer.words = WORDS
  config.policy.update(
    num_layers=2, d_model=64, num_heads=2, num_kv_heads=2, d_ff=160
  )
  config.policy.logprob_chunk = 4096
  config.sft.update(num_examples=30000, steps=600, batch_tokens=2048)
  # 48 as in the paper's Fig. 10.  A response says little of a single fact: with
  # 32 problems an iteration, most of an update is noise.
  config.rl.update(iterations=48, problems_per_iteration=64, row_responses=6)
  config.loss.tau = 0.4
  # Gradients of RL have a norm of 0.07.  As wrong responses end as right ones
  # do, one run of five was pushed away from ending, by gradients twenty times
  # as long, and lost all; with this limit it was not.
  config.optimizer.update(
    learning_rate=3e-4, micro_batch_rows=16, clip_norm=0.1
  )
  # All prompts have 8 tokens and all responses 11: a row with room for six of
  # the longest has room for a group of eight.  With a limit of 12 a policy that
  # wrote a token more now and then was pushed away from all that it knew.
  config.rollout.update(
    max_prompt_length=8, max_length=16, token_budget=16, num_slots=256,
    tokens_per_call=12,
  )  # fmt: skip
  config.evaluation.every = 4
  if variant in _VARIANTS:
    _VARIANTS[variant](config)
  elif variant:
    raise ValueError(
      f'unknown variant {variant!r}; there are {list(_VARIANTS)}'
    )
  return config


def _curriculum(config):
  config.task.train_problems = 2048
  config.facts.update(
    min_steps=4, max_steps=4, lands=4, luck=0.2, hard_right=(0.1, 0.5),
    hard_facts=0.3, hard_share=0.2, held_out_hard_share=0.5,
  )  # fmt: skip
  config.problem_sampler.curriculum_iteration = 12
  config.rollout.update(
    max_prompt_length=9, max_length=18, token_budget=18, tokens_per_call=14
  )


def _search(config):
  # So few facts, and so many checks, that a warm-up learns to tell right from
  # wrong.  With 80 facts, a check in 0.3 and 600 steps it took back right ones
  # as often as wrong ones: nothing was gained by length, and RL shortened.
  config.facts.update(
    places=6, roads=8, lands=0, luck=0.0, hard_right=(0.35, 0.75),
    check_rate=0.4, notice_rate=1.0, again_rate=0.3,
  )  # fmt: skip
  # Of 6 * 8^3 walks.  RL forgot the order of four roads, of which some came
  # twice, with 8 places and 6 roads.
  config.task.update(train_problems=2048, held_out_problems=160)
  config.sft.steps = 700
  config.optimizer.update(learning_rate=1.5e-4, micro_batch_rows=8)
  config.rl.row_responses = 1  # in rows that hold four of the usual length
  # Four rounds of three steps that are checked, noticed and stated anew once.
  config.rollout.update(
    max_length=128, token_budget=128, num_slots=128, tokens_per_call=16
  )


def _smoke(config):
  base.smoke(config)
  config.rollout.update(max_length=24, token_budget=24)


_VARIANTS = {'curriculum': _curriculum, 'search': _search, 'smoke': _smoke}
