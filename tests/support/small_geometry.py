"""A small random Qwen2.5-VL directory, and problems with pictures for it."""

import io
import json

import hf_tokenizers
import numpy as np
import pyarrow
import pyarrow.parquet
import vlm_checkpoints
from PIL import Image

SPECIAL = (
  *hf_tokenizers.SPECIAL, '<|vision_start|>', '<|vision_end|>', '<|image_pad|>',
  '<|video_pad|>',
)  # fmt: skip
VOCAB = 320
# As Qwen2.5-VL's: of a content that is a text, and of one that has parts.
TEMPLATE = """{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if part.type == 'image' %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- else %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def write(directory):
  """Weights, tokenizer, processor; the template is in a file of its own."""
  hf_tokenizers.write(
    directory, template=None, vocab_size=VOCAB, special=SPECIAL
  )
  template = json.dumps(dict(chat_template=TEMPLATE))
  (directory / 'chat_template.json').write_text(template)
  ids = {name: SPECIAL.index(f'<|{name}|>') for name in (
    'image_pad', 'video_pad', 'vision_start', 'vision_end',
  )}  # fmt: skip
  config = vlm_checkpoints.CASES['qwen2_5_vl'] | dict(
    vocab_size=VOCAB, eos_token_id=[2, 0], max_position_embeddings=512,
    image_token_id=ids['image_pad'], video_token_id=ids['video_pad'],
    vision_start_token_id=ids['vision_start'],
    vision_end_token_id=ids['vision_end'],
  )  # fmt: skip
  return vlm_checkpoints.write(directory, config)


def write_problems(path, count=24, first=0, **changes):
  """Geometry3K's fields in Parquet: a picture in a struct, `<image>` in text.

  `changes` are fields of the last row.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  rows = [
    dict(
      images=[dict(bytes=_png(i, 16 + 8 * (i % 3), 40), path=None)],
      problem=f'<image>Find $x$ of triangle {i}.',
      answer=str(i + 1),
    )
    for i in range(first, first + count)
  ]
  rows[-1] |= changes
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  return path


def _png(seed, height, width):
  pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
  file = io.BytesIO()
  Image.fromarray(pixels.astype(np.uint8)).save(file, 'PNG')
  return file.getvalue()
