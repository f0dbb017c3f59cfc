"""The arithmetic run under losses that k1.5's is compared with.

    python -m k15.main --config=experiments/losses.py:dapo --workdir=runs/dapo

Variants: 'k15', 'grpo', 'dr_grpo', 'dapo', 'gspo', 'token_clip'; `_smoke`
behind a name runs it in seconds.  What each changes, and where it is written:
docs/losses.md.  No learning rate is tuned for any of them.
"""

from experiments import arithmetic
from experiments import sweeps

# DeepSeekMath's 1 / (G |o_j|), against no reference.
_GRPO = {
  'loss.method': 'grpo',
  'loss.grpo_beta': 0.0,
  'loss.pg_norm': 'seq_mean',
  'loss.reg_norm': 'seq_mean',
}
VARIANTS = {
  'k15': {},
  # DeepSeek-R1's weight of the KL; its epsilon of 10 is another.
  'grpo': _GRPO | {'loss.grpo_beta': 0.001},
  # arXiv 2503.20783, section 3.2: no length in the loss, no std.
  'dr_grpo': _GRPO
  | {'loss.pg_norm': 'const_max_len', 'loss.grpo_divides_by_std': False},
  # arXiv 2503.14476, 3.1 to 3.4; of 20,480 tokens theirs are the last 4,096.
  'dapo': _GRPO
  | {
    'loss.pg_norm': 'token_mean',
    'loss.grpo_clip_high': 0.28,
    'rl.refill_rounds': 4,  # NP: it samples until the batch is full.
    'rl.overlong_penalty': 1.0,
    'rl.overlong_tokens': 51,  # of 256, a fifth as well
  },
  # arXiv 2507.18071, equations 5 to 7 and section 5.1.
  'gspo': _GRPO
  | {
    'loss.grpo_ratio': 'sequence_mean',
    'loss.pg_norm': 'seq_sum',
    'loss.grpo_clip': 3e-4,
    'loss.grpo_clip_high': 4e-4,
  },
  # arXiv 2602.02276; neither tau nor the bounds are published.
  'token_clip': {
    'loss.method': 'token_clip',
    'loss.pg_norm': 'token_mean',
    'loss.reg_norm': 'token_mean',
  },
}


def get_config(variant='k15'):
  name = variant.removesuffix('_smoke')
  if name not in VARIANTS:
    raise ValueError(f'unknown variant {variant!r}; there are {[*VARIANTS]}')
  config = arithmetic.get_config('smoke' if name != variant else '')
  config.update_from_flattened_dict(VARIANTS[name])
  return config


def sweep(variant='k15'):
  """All of them, five seeds each; `_smoke` says how long."""
  del variant
  return sweeps.product(sweeps.arms(VARIANTS), sweeps.seeds(5))
