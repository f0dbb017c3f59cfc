"""Warm-up, then RL, of a small policy on exact integer reasoning.

    python -m k15.main --config=experiments/arithmetic.py \\
        --workdir=runs/arithmetic

`:smoke` runs the same stages end to end in under a minute and learns nothing.
"""

from experiments import base

# One token each: the writer's phrases, and the numbers inside steps.
_WORDS = (
  'plan ', 'columns\n', 'digits\n', 'search\n', 'try ', 'check ', ' wait ',
  ' so ', ' want ', 'guess\n', 'give up\n', ' yes\n', ' no\n', '\n#### ',
  '#### ', 'make ', ' from ', 'pay ', ' with ', 'find x: x/', ', x/', ' r',
  *(str(number) for number in range(100)),
)  # fmt: skip


def get_config(variant=''):
  config = base.get_config()
  config.tokenizer.words = _WORDS
  config.policy.num_layers = 3
  config.policy.logprob_chunk = 4096
  config.task.give_up_rate = 0.2
  config.sft.num_examples = 60000
  # Long enough that the check of a search ('=13 want 35') is never wrong: RL
  # does not mend it.  2,200 steps left it wrong 11 times of 147.
  config.sft.steps = 2800
  config.sft.batch_tokens = 2048
  config.rl.iterations = 36
  config.optimizer.learning_rate = 1e-4
  # With the embedding by Adam, it was wrong 20 times of 138 (docs/log.md).
  config.optimizer.muon_embeddings = True
  config.rollout.max_prompt_length = 24
  config.rollout.max_length = 256
  config.rollout.token_budget = 128
  config.rollout.num_slots = 64
  config.rollout.tokens_per_call = 32
  config.rollout.prefill_batch = 32
  config.optimizer.micro_batch_rows = 8
  if variant == 'smoke':
    base.smoke(config)
  elif variant:
    raise ValueError(f'unknown variant {variant!r}; there is :smoke')
  return config


def smoke_with_right_answers(config):
  """Problems so small that a tiny policy is sometimes right within seconds."""
  config.task.update(kinds=('multiply',), max_difficulty=0.0)
  config.sft.update(num_examples=2000, steps=400, warmup_steps=5)
  config.long_cot.update(epochs=1, warmup_steps=0)
  config.long_cot_examples.least_processes = 0


def set_guesses(config):
  """For curation by a policy that has learnt the generated traces."""
  # Held-out problems have the templates of all others, and other numbers.
  config.curation.variant_similarity = 0.0
  # The habit of guessing begins so: no room is left to work anything out.
  config.curation.update(
    guess_suffix='\n', guess_prefix='guess\n#### ', guess_max_length=8
  )
