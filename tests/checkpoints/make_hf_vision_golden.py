"""Writes hf_vision_golden.npz: what transformers makes of `vlm_checkpoints`.

Run where torch, transformers and Pillow are installed, with tests/support on
PYTHONPATH: python tests/checkpoints/make_hf_vision_golden.py

It also opens what k15 exports: with the config.json that test_hf_vision.py
compares exports to, the logits have to be the same to the bit.
"""

import json
import pathlib
import tempfile

import numpy as np
import torch
import transformers
import vlm_checkpoints
from transformers.models.idefics3.image_processing_pil_idefics3 import (
  Idefics3ImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
  Qwen2VLImageProcessorPil,
)

HERE = pathlib.Path(__file__)
GOLDEN = HERE.with_name('hf_vision_golden.npz')
EXPORTED = HERE.with_name('hf_vision_exported.json')


def reference(directory, config, exported=None):
  """Arrays of the golden file, for one checkpoint."""
  is_square = vlm_checkpoints.is_square(config)
  kind = Idefics3ImageProcessorPil if is_square else Qwen2VLImageProcessorPil
  processor = kind.from_pretrained(directory)
  seen = processor(images=vlm_checkpoints.pictures(config), return_tensors='pt')
  if exported is not None:
    (directory / 'config.json').write_text(json.dumps(exported))
  model = transformers.AutoModelForImageTextToText.from_pretrained(
    directory, dtype=torch.float32, attn_implementation='eager'
  ).eval()
  tokens = vlm_checkpoints.prompt(config)[None].astype(np.int64)
  tokens = torch.tensor(tokens)
  of = of_a_square if is_square else of_a_grid
  with torch.no_grad():
    found, given = of(model, tokens, seen)
    logits = model(input_ids=tokens, **given).logits[0].numpy()
    new = vlm_checkpoints.NEW
    # Placeholders are never sampled: k15 bans them in the logits.
    banned = [[vlm_checkpoints.IMAGE], [vlm_checkpoints.VIDEO]]
    out = model.generate(
      input_ids=tokens, attention_mask=torch.ones_like(tokens),
      max_new_tokens=new, min_new_tokens=new, do_sample=False,
      eos_token_id=None, pad_token_id=0,
      bad_words_ids=banned[:1] if is_square else banned, **given,
    )  # fmt: skip
  return found | dict(
    # Of a square, those behind the first picture are enough.
    logits=logits[-16:] if is_square else logits,
    tokens=out[0, len(logits) :].numpy().astype(np.int32),
  )


def of_a_square(model, tokens, seen):
  """Of SmolVLM: what is golden of the tower, and what the model is given."""
  given = {key: seen[key] for key in ('pixel_values', 'pixel_attention_mask')}
  features = model.model.get_image_features(**given, return_dict=True)
  text = tokens[:, -vlm_checkpoints.TEXT :]
  return dict(
    features=torch.cat(list(features.pooler_output)).numpy(),
    text_logits=model(input_ids=text).logits[0].numpy(),
  ), given


def of_a_grid(model, tokens, seen):
  """Of the Qwens: the same."""
  kinds = (tokens == vlm_checkpoints.IMAGE).int()
  grids = seen['image_grid_thw']
  tower = model.model.visual(
    seen['pixel_values'], grid_thw=grids, return_dict=True
  )
  positions, delta = model.model.get_rope_index(
    tokens, mm_token_type_ids=kinds, image_grid_thw=grids
  )
  given = dict(
    pixel_values=seen['pixel_values'], image_grid_thw=grids,
    mm_token_type_ids=kinds,
  )  # fmt: skip
  deep = getattr(tower, 'deepstack_features', None) or []
  return dict(
    grids=grids.numpy()[:, 1:],
    features=tower.pooler_output.numpy(),
    **{f'deep_{k}': x.numpy() for k, x in enumerate(deep)},
    positions=positions[:, 0].numpy().T,
    delta=delta[0].numpy(),
  ), given


def main():
  exported = json.loads(EXPORTED.read_text()) if EXPORTED.exists() else {}
  arrays = {}
  for name, config in vlm_checkpoints.CASES.items():
    with tempfile.TemporaryDirectory() as folder:
      directory = vlm_checkpoints.write(pathlib.Path(folder) / 'in', config)
      found = reference(directory, config)
      arrays |= {f'{name}/{key}': x for key, x in found.items()}
      gaps = np.sort(found['logits'])[:, -1] - np.sort(found['logits'])[:, -2]
      print(
        name, 'smallest gap', gaps.min(), 'tokens', found['tokens'].tolist()
      )
      if name in exported:
        again = reference(directory, config, exported[name])
        for key, x in found.items():
          np.testing.assert_array_equal(x, again[key])
        print(name, 'the exported config.json: the same bits')
  np.savez_compressed(GOLDEN, **arrays)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
