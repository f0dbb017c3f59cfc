"""Long-context activation of 2.5.1: rows that grow, and a larger RoPE base.

    make reproduce FIGURE=long_context

Expected: documents in rows of 256 tokens are read better than after as many
steps on short rows, notes are found at 256, and rows of 64 are read as well as
before; the larger base (the paper's 1,000,000) helps at 512 tokens, a length
that no step had.  Not in the paper, which reports no ablation.  Cost: 15 runs
of two minutes on one core, and base models of half an hour.
"""

from experiments import sweeps
from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import warm_up_documents

_GROWN = {'long_context.lengths': (64, 128, 256)}
ARMS = {
  'activated': _GROWN,
  'base of before': _GROWN | {'long_context.rope_theta': 10000.0},
  'short rows': {'long_context.lengths': (64,)},
}
_AT, _NEEDLE = 'text/held_out_at_', 'text/needle_at_'
CLAIM = claims.Claim(
  figure='2.5.1, long context',
  question='Are long documents read, and short ones kept?',
  paper='4,096, 32,768, then 131,072 tokens and a base of 1,000,000; without'
  ' an ablation.',
  panels=(
    claims.Panel(f'{_AT}64'), claims.Panel(f'{_AT}256'),
    claims.Panel(f'{_AT}512'), claims.Panel(f'{_NEEDLE}256'),
  ),
  measures=(
    claims.Measure('nats a token at 64: activated minus short rows',
                   f'{_AT}64', 'activated', 'short rows',
                   expected='not_above', margin=0.03),
    claims.Measure('nats a token at 256: activated minus short rows',
                   f'{_AT}256', 'activated', 'short rows', expected='below'),
    claims.Measure('notes found at 256: activated minus short rows',
                   f'{_NEEDLE}256', 'activated', 'short rows',
                   expected='above'),
    claims.Measure('nats a token at 512, never learnt: activated minus base'
                   ' of before', f'{_AT}512', 'activated', 'base of before',
                   expected='below'),
    claims.Measure('notes found at 512', f'{_NEEDLE}512', claims.EACH),
  ),
  points=1,
  stage='long_context',
)  # fmt: skip
OUTCOME = 'Three seeds of five have run: docs/pretraining.md'


def get_config(variant='cpu'):
  config = warm_up_documents.get_config(variant, ('long_context',))
  if variant != 'paper':
    config.long_context.measured_lengths = (64, 128, 256, 512)
  return config


def sweep(variant='cpu'):
  seeds = sweeps.seeds(2 if variant == 'smoke' else 1)
  if variant in scales.CPU:
    numbers = range(scales.SEEDS) if variant == 'cpu' else scales.TUNING_SEEDS
    seeds = scales.seeds(numbers, 'cooldown', 'warm_up_documents')
  return sweeps.product(sweeps.arms(ARMS), seeds)
