"""R1's table 6: a small model learns from a large one, or by RL of its own.

    make reproduce FIGURE=distill

Expected: distillation is ahead at equal compute, for the large model has found
what the small one would have to find.  Compute is counted for the small model,
in passes forward over a token: RL samples (1), computes reference
log-probabilities (1) and updates (3) 24 * 16 * 8 responses of about 60 tokens,
184,000; at 3 a token SFT takes 307,000 for as much, 150 steps of 2,048.  What
the teacher took is not counted, as in the paper.  `:paper` takes
--config.sft.files, examples of another run's `rejection_sft`.  Cost: 10 runs
of 40 s, and teachers of half an hour.
"""

from experiments.ablations import claims
from experiments.ablations import scales

_FILE = 'runs/reproduce/warm_up_teacher/seed={}/rejection_sft/examples.jsonl'
_SFT = {'stages': ('sft',), 'sft.packing': 'first_fit'}
ARMS = {
  'distillation': _SFT
  | {
    'sft.steps': 150,
    'sft.optimizer': 'adam',
    'sft.learning_rate': 1e-3,
    'sft.end_learning_rate': 1e-4,
    'sft.warmup_steps': 10,
  },
  'RL': {'stages': ('rl',), scales.RATE: 2e-4},
}
_PAPER = {'distillation': _SFT | {'sft.epochs': 2}, 'RL': {'stages': ('rl',)}}
_SMOKE = {'distillation': _SFT, 'RL': {'stages': ('sft', 'rl')}}
_ACCURACY, _TOKENS = 'summary/accuracy', 'summary/mean_tokens'
CLAIM = claims.Claim(
  figure='R1, table 6',
  question='Is a small model better taught by a large one, or by RL?',
  paper='Qwen-32B: distilled 72.6 on AIME 2024 and 94.3 on MATH-500, after'
  ' 10,000 steps of RL 47.0 and 91.6.',
  panels=(claims.Panel(_ACCURACY, _TOKENS),),
  measures=(
    claims.Measure('accuracy: distillation minus RL', _ACCURACY,
                   'distillation', 'RL', expected='above'),
    claims.Measure('tokens: distillation minus RL', _TOKENS,
                   'distillation', 'RL'),
  ),
)  # fmt: skip
OUTCOME = (
  'Three seeds of five have run, and no difference can be told: a teacher of'
  ' twice the layers is hardly ahead of what the small one finds (docs/r1.md)'
)

get_config = scales.get_config


def sweep(variant='cpu'):
  arms = _SMOKE if variant == 'smoke' else ARMS
  for override in scales.sweep(arms, variant, _PAPER):
    if variant in scales.CPU and override['stages'] == ('sft',):
      override['sft.files'] = (_FILE.format(override['seed']),)
    yield override
