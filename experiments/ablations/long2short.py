"""Fig. 7: ways to shorter responses, by accuracy and tokens (2.4).

    make reproduce FIGURE=long2short

Expected: all shorter than the long model; RL has the best accuracy for its
tokens, then DPO, then merging with the long model's ancestor.  `:paper` takes
--config.long2short.short_model and --config.checkpoint.  Cost: 30 runs of a
minute.
"""

from experiments.ablations import claims
from experiments.ablations import scales

_MERGE = {'stages': ('merge',), 'long2short.short_share': 0.5}
ARMS = {
  'long': _MERGE | {'long2short.short_share': 0.0},
  'merge': _MERGE,
  'merge + rs': _MERGE | {'stages': ('merge', 'shortest')},
  'shortest': {'stages': ('shortest',)},
  'DPO': {'stages': ('dpo',)},
  'RL': {'stages': ('short_rl',)},
}
_SMOKE = {k: {'stages': ('sft', *ARMS[k]['stages'])} for k in ('DPO', 'RL')}
_ACCURACY, _TOKENS = claims.SUMMARY, 'summary/mean_tokens'


def _minus(arm, against, metric, expected=''):
  name = 'accuracy' if metric == _ACCURACY else 'tokens'
  what = f'{name}: {arm} minus {against}'
  return claims.Measure(what, metric, arm, against, expected=expected)


_OTHERS = 'DPO', 'merge + rs', 'merge'
CLAIM = claims.Claim(
  figure='Fig. 7',
  question='Which way to shorter responses keeps most of the accuracy?',
  paper='On MATH-500 RL 94.6 at 1,197 tokens, DPO 91.6 at 1,102, merge + rs'
  ' 90.2 at 901, merge 89.2 at 856; long 94.1 at 1,320.',
  panels=(claims.Panel(_ACCURACY, _TOKENS),),
  measures=(
    *(_minus(arm, 'long', _TOKENS, 'below') for arm in ('RL', *_OTHERS)),
    *(_minus('RL', arm, _ACCURACY, 'above') for arm in _OTHERS),
    _minus('RL', 'long', _ACCURACY),
  ),
  # Whatever trains on improves a long model that still learns.
  checks=(claims.flat_start('long'),),
  changed='the check was added',
)  # fmt: skip
OUTCOME = (
  'Every way shortens, RL most, and pays with accuracy; the shortest right'
  ' responses also teach to work surely, as ReST does'
)


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    scales.set_checks(config)
    scales.set_short(config)
  return config


def sweep(variant='cpu'):
  arms = _SMOKE if variant == 'smoke' else ARMS
  start = dict(model='rl', warm_up='warm_up_checks')
  for override in scales.sweep(arms, variant, **start):
    if variant in scales.CPU:
      short = override['checkpoint'].replace('models/rl', 'models/sft')
      override['long2short.short_model'] = short
    yield override
