"""Rope settings of config.json, as transformers 5 reads and writes them.

`rope_scaling`, the older form, goes before `rope_parameters`, the newer one.
A setting that would be computed in one engine and not in another is refused.
"""

from typing import Any

from k15.checkpoints.hf_fields import Fields
from k15.model import policy
from k15.model import rope

LENGTH = 'original_max_position_embeddings'
# Key of the rope settings -> field of PolicyConfig, by kind of scaling.
KEYS = {
  'default': {},
  'llama3': {
    'factor': 'rope_factor',
    'low_freq_factor': 'rope_low_freq_factor',
    'high_freq_factor': 'rope_high_freq_factor',
    LENGTH: 'rope_original_length',
  },
  'yarn': {
    'factor': 'rope_factor',
    'beta_fast': 'rope_beta_fast',
    'beta_slow': 'rope_beta_slow',
    'truncate': 'rope_truncate',
    'attention_factor': 'rope_attention_factor',
    LENGTH: 'rope_original_length',
  },
}
# Others that may be there: read apart, or without effect on what is computed.
_ALSO = (
  'rope_type', 'type', 'rope_theta', 'partial_rotary_factor', 'attn_factor',
  'mscale', 'mscale_all_dim', 'finetuned',
)  # fmt: skip


def read(config: Fields) -> dict[str, Any]:
  """Fields of PolicyConfig.

  Args:
    config: all of config.json.

  Raises:
    ValueError: a kind of scaling or a setting that `rope` does not compute.
  """
  settings = config.group('rope_scaling')
  if not settings.values:
    settings = config.group('rope_parameters')
  if 'full_attention' in settings.values:  # One object for a kind of layer.
    settings = settings.group('full_attention')
  kind = settings.text('rope_type') or settings.text('type') or 'default'
  if kind not in KEYS:
    raise ValueError(
      f'{config.where}: rope scaling {kind!r} is not one of {list(KEYS)}'
    )
  if settings.values.get('partial_rotary_factor') not in (None, 1):
    raise settings.refuse('partial_rotary_factor', '1')
  has_theta = 'rope_theta' in settings.values
  holder = settings if has_theta else config
  theta = holder.positive('rope_theta', 10000.0)
  if theta <= 1:
    raise holder.refuse('rope_theta', 'a number > 1')
  fields = dict(rope_theta=theta)
  if kind == 'default':
    if settings.values.get('factor') not in (None, 1) and not (
      settings.text('rope_type') or settings.text('type')
    ):
      raise ValueError(f'{settings.where}: there is a factor and no rope_type')
    return fields
  _refuse_unknown(settings, kind)
  length = (
    config.size(LENGTH)
    if config.values.get(LENGTH) is not None
    else settings.size(LENGTH, config.values.get('max_position_embeddings'))
  )
  fields |= dict(rope_scaling=kind, rope_original_length=length)
  return fields | (_llama3 if kind == 'llama3' else _yarn)(
    config, settings, length
  )


def _refuse_unknown(settings, kind):
  for key, value in settings.values.items():
    if value is not None and key not in (*KEYS[kind], *_ALSO):
      raise ValueError(
        f'{settings.where}: {key} is not a setting of {kind!r} that is known'
      )


def _llama3(config, settings, length):
  del config, length
  low, high = map(settings.positive, ('low_freq_factor', 'high_freq_factor'))
  if high <= low:
    raise settings.refuse('high_freq_factor', f'above low_freq_factor = {low}')
  return dict(
    rope_factor=settings.positive('factor'),
    rope_low_freq_factor=low,
    rope_high_freq_factor=high,
  )


def _yarn(config, settings, length):
  """Null stands for what is usual, as in transformers; so does a beta of 0."""
  given = {key: x for key, x in settings.values.items() if x not in (None, 0)}
  own = Fields(settings.where, given)
  if settings.values.get('factor', 0) is None:
    factor = config.size('max_position_embeddings') / length
  else:
    factor = settings.positive('factor')
  # vLLM multiplies by it, and transformers does not.
  if settings.values.get('attn_factor') not in (None, 1):
    raise settings.refuse('attn_factor', '1; attention_factor is the whole')
  if settings.values.get('attention_factor') is not None:
    magnitude = settings.positive('attention_factor')
  elif {'mscale', 'mscale_all_dim'} <= set(given):
    magnitude = rope.yarn_magnitude(factor, own.positive('mscale'))
    magnitude /= rope.yarn_magnitude(factor, own.positive('mscale_all_dim'))
  else:
    magnitude = 0.0  # Of the factor.
  default = policy.PolicyConfig
  return dict(
    rope_factor=factor,
    rope_beta_fast=own.positive('beta_fast', default.rope_beta_fast),
    rope_beta_slow=own.positive('beta_slow', default.rope_beta_slow),
    rope_truncate=settings.flag('truncate', default.rope_truncate),
    rope_attention_factor=magnitude,
  )


def write(shape: policy.PolicyConfig) -> dict[str, Any] | None:
  """The object `rope_scaling`; null without scaling."""
  if shape.rope_scaling == 'none':
    return None
  keys = KEYS[shape.rope_scaling]
  settings = {key: getattr(shape, field) for key, field in keys.items()}
  if shape.rope_scaling == 'yarn':
    _, settings['attention_factor'] = rope.turns_of(shape)
  return dict(rope_type=shape.rope_scaling, **settings)
