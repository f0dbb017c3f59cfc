"""Kimi k1.5's reinforcement learning (2.3, eq. 3) on a pretrained small model.

    make smollm
    make smollm GSM8K=gsm8k/test.jsonl

SmolLM2-135M-Instruct is fetched (93 MB, Apache-2.0) and learns word problems of
one step, some with a sentence that does not matter
(`k15/data/words/word_problems.py`): a very short SFT on worked solutions, then
RL with nothing but the right answer in the reward.  Both train adapters of rank
16.  It is measured after each on held-out problems, sampled as in training:
most have templates of training and other numbers, a quarter has templates it
never learnt from.  With a file of GSM8K's, 256 of its problems are asked before
and after, too.  The second command is

    python -m k15.main --config=experiments/smollm.py --workdir=runs/smollm \\
        --config.checkpoint=DIRECTORY \\
        --config.stages="('sft','rl','evaluate')" \\
        --config.evaluation.sets="('gsm8k:gsm8k/test.jsonl',)"

where the checkpoint may be any of a chat model.  The model as it comes is right
in 2 to 6 % at temperature 1, hence the SFT; it ends where the form is known and
little else, so that RL has something to do.  `summary.json` has the accuracies;
parts_after_sft and parts_after_rl those of both sorts of held-out problem.

Cost: 20 minutes of two cores and 9 GB, and 10 more with GSM8K.  Expected: 26 to
32 % right after SFT, 45 to 51 % after RL (docs/checkpoints.md).  Of several
steps: --config.task.max_steps=2, which is too hard here (docs/log.md).
Problems of your own or of GSM8K, with worked solutions in the file:

    python -m k15.main --config=experiments/smollm.py --workdir=runs/own \\
        --config.checkpoint=DIRECTORY --config.task.name=file \\
        --config.task.train_path=gsm8k/train.jsonl \\
        --config.task.prompt_field=question --config.task.response_field=answer

`:smoke` runs the stages within seconds, on a small model or random weights.
"""

from experiments import base


def get_config(variant=''):
  config = base.get_config()
  set_task(config)
  config.policy.logprob_chunk = 512
  config.rollout.max_prompt_length = 256  # GSM8K's longest has 225
  config.rollout.max_length = 192  # worked solutions have 25 to 90
  config.rollout.token_budget = 128
  config.rollout.num_slots = 64
  config.rollout.prefill_batch = 16
  config.policy.lora_rank = 16
  config.sft.update(
    steps=14, num_examples=500, batch_tokens=1024, optimizer='adam',
    learning_rate=2e-3, end_learning_rate=5e-4, warmup_steps=2, log_every=4,
  )  # fmt: skip
  config.rl.update(
    iterations=20, problems_per_iteration=16, updates_per_iteration=2,
    row_responses=2,
  )  # fmt: skip
  # Two updates are too few for moments that begin anew with an iteration: the
  # first moves every weight by the whole rate, whatever its gradient.
  config.optimizer.update(
    learning_rate=3e-4, beta2=0.99, warmup_updates=4,
    reset_every_iteration=False, micro_batch_rows=1,
  )  # fmt: skip
  # Their regularizer alone is not worth the time that they take.
  config.loss.keep_zero_variance_groups = False
  config.evaluation.problems = 256
  config.evaluation.before = True
  config.saving.update(every_iterations=5, every_sft_steps=7, keep=1)
  if variant == 'smoke':
    _smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config


def set_task(config):
  """Word problems in the checkpoint's chat, asked as GSM8K's are."""
  config.task.name = 'word_problems'
  config.task.max_steps = 1
  config.task.max_distractors = 1
  config.task.held_out_problems = 384
  config.task.guess_rate = 0.0
  # A system prompt of the template's own would be four times as long.
  config.task.system_prompt = 'Solve the problem.'
  config.task.prompt_suffix = (
    '\n\nReason step by step, and put the final answer in \\boxed{}.'
  )
  config.task.drop_unusable = True  # of a file; generated ones fit
  config.reward.default = 'math_answers'


def _smoke(config):
  base.smoke(config)
  # Prompts and solutions of a single step, in bytes.
  config.task.max_distractors = 0
  config.rollout.update(
    max_prompt_length=320, max_length=128, token_budget=128, tokens_per_call=16
  )
  config.rl.update(iterations=2)
  config.sft.update(num_examples=32, steps=4, warmup_steps=1)
  config.saving.update(every_iterations=1, every_sft_steps=2)
