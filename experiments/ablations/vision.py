"""Joint reinforcement learning on texts and pictures, and on either alone.

    make reproduce FIGURE=vision

The model that arms begin with as often says first what is seen as it answers at
once.  Expected: RL on texts never rewards that one looks, so pictures gain by
joint RL alone; texts lose nothing by sharing updates; a text and its picture
get the same answer more often, and later without pictures of texts.  Cost: 20
runs of 2.6 minutes of a core, and five warm-ups of ten.
"""

from experiments import vision
from experiments.ablations import claims
from experiments.ablations import scales

_LATE = 'problem_sampler.late_domains'  # at an iteration that never comes
ARMS = {
  'joint': {},
  'texts only': {'vision.rl_image_share': 0.0},
  'pictures only': {'vision.rl_image_share': 1.0},
  'joint, no rendered text': {_LATE: ('image add:9999', 'image subtract:9999')},
}
_IMAGES, _TEXTS = (f'evaluation/accuracy_{x}' for x in ('pictures', 'texts'))
_AGREEMENT = 'evaluation/agreement'


def _minus(metric, arm, against, expected='', margin=0.0, by='final'):
  what = f'{metric.removeprefix("evaluation/")}: {arm} minus {against}'
  what = what if by == 'final' else f'{by} of {what}'
  return claims.Measure(what, metric, arm, against, by, expected=expected,
                        margin=margin)  # fmt: skip


CLAIM = claims.Claim(
  figure='2.3.5, vision',
  question='What does joint RL on texts and pictures gain?',
  paper='Joint RL on text and vision data; without an ablation.',
  panels=tuple(map(claims.Panel, (_IMAGES, _TEXTS, _AGREEMENT, claims.TOKENS))),
  measures=(
    claims.Measure('pictures: gain of joint RL', _IMAGES, 'joint', by='change',
                   expected='above'),
    claims.Measure('agreement: gain of joint RL', _AGREEMENT, 'joint',
                   by='change', expected='above'),
    _minus(_IMAGES, 'joint', 'texts only', 'above'),
    _minus(_AGREEMENT, 'joint', 'texts only', 'above'),
    _minus(_TEXTS, 'joint', 'texts only', 'not_below', 0.03),
    _minus(_TEXTS, 'pictures only', 'joint', 'not_above', 0.03),
    _minus(_AGREEMENT, 'joint, no rendered text', 'joint', 'below', by='area'),
    _minus(_IMAGES, 'joint, no rendered text', 'joint'),
    claims.Measure('pictures: gain', _IMAGES, claims.EACH, by='change'),
  ),
  changed='of 48 iterations, most of them flat, -0.017 ± 0.026 of agreement was'
  ' left of what rendered texts teach; it is the area of 20 now',
)  # fmt: skip
OUTCOME = 'To look is a habit, which any picture teaches, those of texts first'


def get_config(variant='cpu'):
  config = vision.get_config('smoke' if variant == 'smoke' else '')
  config.stages = ('rl',)
  config.evaluation.every = 1 if variant == 'smoke' else 4
  if variant != 'smoke':  # Of these problems RL asks 640.
    config.rl.iterations, config.task.train_problems = 20, 1024
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, warm_up='warm_up_vision')
