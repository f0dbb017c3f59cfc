"""Two mixtures of documents, one budget: how 2.5.1 would choose its weights.

    make reproduce FIGURE=mixture

The paper chooses its mixture "by ablations on smaller models", and publishes
neither the candidates nor what they showed.  Expected: what a domain is given
it gains in held-out loss, and the others pay for it.  At `:paper` scale name
your own documents, --config.pretrain.files, and weights of their domains.
Cost: 10 runs of half a minute.
"""

from experiments import sweeps
from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import warm_up_documents

ARMS = {
  'equal': {'pretrain.weights': ('equations:1', 'prose:1', 'tables:1')},
  'equations': {'pretrain.weights': ('equations:4', 'prose:1', 'tables:1')},
}
_LOSS = 'text/held_out_domain_'
CLAIM = claims.Claim(
  figure='2.5.1, mixture',
  question='What does a domain gain, and what do others pay, at one budget?',
  paper='the mixture comes from ablations on small models, not published.',
  panels=tuple(
    claims.Panel(f'{_LOSS}{name}') for name in ('equations', 'prose', 'tables')
  ),
  measures=(
    claims.Measure('nats a token of equations: equations minus equal',
                   f'{_LOSS}equations', 'equations', 'equal',
                   expected='below'),
    claims.Measure('nats a token of prose: equations minus equal',
                   f'{_LOSS}prose', 'equations', 'equal', expected='above'),
    claims.Measure('nats a token of tables: equations minus equal',
                   f'{_LOSS}tables', 'equations', 'equal', expected='above'),
    claims.Measure('nats a token of all', 'text/held_out_loss', claims.EACH),
  ),
  points=1,
  stage='pretrain',
)  # fmt: skip
OUTCOME = (
  'Twice the tokens of a domain take 6 % off its loss, and the others pay'
  ' more; which weights are best is a question about what comes after'
)


def get_config(variant='cpu'):
  config = warm_up_documents.get_config(variant, ('pretrain',))
  if variant in scales.CPU:
    config.policy.update(
      num_layers=2, d_model=64, num_heads=2, num_kv_heads=2, d_ff=160
    )
    config.documents.update(number=8000, held_out_every=50)
    config.pretrain.steps = 300
  return config


def sweep(variant='cpu'):
  first = scales.TUNING_SEEDS[0] if variant == 'tune' else 0
  count = {'cpu': scales.SEEDS, 'smoke': 2}.get(variant, 1)
  return sweeps.product(sweeps.arms(ARMS), sweeps.seeds(count, first))
