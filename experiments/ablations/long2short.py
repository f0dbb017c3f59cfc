"""Fig. 7: ways to shorter responses, by accuracy and tokens (2.4).

    make reproduce FIGURE=long2short

Expected: all shorter than the long model; RL has the best accuracy for its
tokens, then DPO, then merging.  The short model that is merged with the long
one is its ancestor, the warm-up; `:paper` takes --config.long2short.short_model
and the long --config.checkpoint.  Cost: 30 runs of a minute.
"""

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
