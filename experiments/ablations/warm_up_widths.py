"""`warm_up_search` for policies of four widths, what `model_size` begins with.

    python -m launch.local --parallel=2 --sweep \\
        --config=experiments/ablations/warm_up_widths.py:cpu \\
        --root=runs/reproduce/warm_up_widths

`make reproduce` runs it first.  Cost: 80 seconds of a core for each width and
seed.
"""

from experiments import sweeps
from experiments.ablations import scales
from experiments.ablations import warm_up_search

WIDTHS = {
  n: {
    'policy.d_model': n,
    'policy.head_dim': n // 2,
    'policy.d_ff': 5 * n // 2,
  }
  for n in (32, 48, 64, 96)
}

get_config = warm_up_search.get_config


def sweep(variant='cpu'):
  return sweeps.product(sweeps.arms(WIDTHS), scales.warm_up_sweep(variant))


def start(override):
  """The override of a run of this width and seed that lets it begin here."""
  keys = *WIDTHS[override['policy.d_model']], 'seed'
  name = ','.join(f'{key.rpartition(".")[2]}={override[key]}' for key in keys)
  return {'checkpoint': f'{scales.RUNS}/warm_up_widths/{name}/models/sft'}
