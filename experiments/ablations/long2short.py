"""Fig. 7: ways to shorter responses, by accuracy and tokens (2.4).

    make reproduce FIGURE=long2short

Of a long model after RL and a short one, on walks.  Expected: all shorter than
the long one; RL has the best accuracy, then DPO, then merging.  `:paper` takes
--config.long2short.short_model and --config.checkpoint.  Cost: 35 minutes.
"""

from experiments.ablations import claims
from experiments.ablations import scales
from experiments.ablations import walks

_MERGE = {'stages': ('merge',), 'long2short.short_share': 0.5}
ARMS = {
  'long': _MERGE | {'long2short.short_share': 0.0},
  'merge': _MERGE,
  'merge + rs': _MERGE | {'stages': ('merge', 'shortest')},
  'shortest': {'stages': ('shortest',)},
  'DPO': {'stages': ('dpo',)},
  'RL': {'stages': ('short_rl',)},
  'short': _MERGE | {'long2short.short_share': 1.0},
}
_SMOKE = {k: {'stages': ('sft', *ARMS[k]['stages'])} for k in ('DPO', 'RL')}
_ACCURACY, _TOKENS = claims.SUMMARY, 'summary/mean_tokens'
_WAYS = 'RL', 'DPO', 'merge + rs', 'merge'
CLAIM = claims.Claim(
  figure='Fig. 7', stage='short_rl',
  question='Which way to shorter responses keeps most of the accuracy?',
  paper='On MATH-500 RL 94.6 at 1,197 tokens, DPO 91.6 at 1,102, merge + rs'
  ' 90.2 at 901, merge 89.2 at 856; long 94.1 at 1,320.',
  panels=(claims.Panel(_ACCURACY, _TOKENS),),
  measures=(
    *(claims.final(a, 'long', 'below', metric=_TOKENS) for a in _WAYS),
    *(claims.final('RL', a, 'above', metric=_ACCURACY) for a in _WAYS[1:]),
    claims.final('RL', 'long', metric=_ACCURACY),
    *(claims.final(arm, 'long', metric=metric)
      for arm in ('shortest', 'short') for metric in (_ACCURACY, _TOKENS)),
  ),
  checks=(  # Whatever trains on improves a long model that still learns.
    claims.flat_start('long'), claims.flat_end('RL'),
    claims.Check('share of redundant tokens, the run before',
                 'start/rl/redundant_tokens', 'long', 'final', least=0.25),
    claims.Check('tokens of nine in ten right ones, the run before',
                 'start/rl/length_p90_correct', 'long', 'final',
                 most=scales.SHORT_LENGTH),
  ),
)  # fmt: skip
OUTCOME = (
  "Accuracies lie in the paper's order; whether all shorten stays open: one"
  ' long model of five, half lost to RL, writes 45 tokens, the others 24'
)


def get_config(variant='cpu'):
  if variant not in scales.CPU:
    return scales.get_config(variant)
  config = walks.get_config(variant, 'search')
  scales.set_short(config)
  return config


def sweep(variant='cpu'):
  arms = _SMOKE if variant == 'smoke' else ARMS
  own = dict(model='rl', warm_up='warm_up_long', rates=walks.SEARCH_RATES)
  for override in scales.sweep(arms, variant, **own):
    if variant in scales.CPU:
      (short,) = scales.seeds([override['seed']], warm_up='warm_up_short')
      override['long2short.short_model'] = short['checkpoint']
    yield override
