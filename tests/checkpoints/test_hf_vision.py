"""Checkpoints that see, against transformers; bad ones named.

`make_hf_vision_golden.py` wrote what transformers makes of the same files, and
of what is exported here.
"""

import dataclasses
import json
import pathlib

import hf_checkpoints
import jax
import numpy as np
import pytest
import thorough
import vlm_checkpoints
from PIL import Image
from safetensors.numpy import load_file

from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.checkpoints import tensor_files
from k15.devices import sharding
from k15.model import heads
from k15.model import policy
from k15.rollout import backend
from k15.rollout import slots
from k15.rollout.requests import Request
from k15.runtime import weights
from k15.runtime.context import Layout
from k15.vision import rows

HERE = pathlib.Path(__file__)
GOLDEN = np.load(HERE.with_name('hf_vision_golden.npz'))
EXPORTED = json.loads(HERE.with_name('hf_vision_exported.json').read_text())
CASES = vlm_checkpoints.CASES
PROMPTS = {
  name: vlm_checkpoints.prompt(config) for name, config in CASES.items()
}
NUM_PATCHES = 108  # 17 blocks of 4 are 68, 8 of 9 are 72


def load(directory, mesh=(1, 1, 1), **changes):
  """Config, parameters and processor of a directory."""
  config = dataclasses.replace(hf_config.read_config(directory), **changes)
  layout = weights.param_layout(Layout(config, sharding.make_mesh(*mesh)))
  params = hf.load(directory, config, layout)
  return config, params, hf_config.read_processor(directory)


def images_of(name, config, processor):
  row = rows.row_of(
    processor,
    PROMPTS[name],
    config.vision.image_id,
    vlm_checkpoints.pictures(CASES[name]),
    NUM_PATCHES,
  )
  return jax.tree.map(lambda x: x[None], row)


def see(name, config, params, processor):
  """Features and logits [T, V] of the prompt."""
  images, prompt = images_of(name, config, processor), PROMPTS[name]
  columns = np.arange(len(prompt), dtype=np.int32)[None]

  @jax.jit
  def run(params):
    features = policy.encode(config, params, images)
    hidden, _ = policy.forward(
      config, params, prompt[None], columns, np.ones_like(columns), None,
      images, features,
    )  # fmt: skip
    return features, heads.logits_of(config, params, hidden)[0]

  return jax.device_get(run(params))


def greedy(name, config, params, processor):
  """The NEW tokens of a slot beside one whose prompt has no picture."""
  prompt = PROMPTS[name]
  columns = len(prompt) + vlm_checkpoints.NEW
  decoder = slots.SlotDecoder(
    config, num_slots=3, columns=columns, tokens_per_call=64, prefill_batch=2,
    eos_ids=(VOCAB_END,),
  )  # fmt: skip
  images = images_of(name, config, processor)
  wide = np.zeros((1, columns), np.int32)
  wide[0, : len(prompt)] = prompt
  positions = np.zeros((1, columns, 3), np.int32)
  positions[0, : len(prompt)] = images.positions[0]
  index = np.full((1, columns), -1, np.int32)
  index[0, : len(prompt)] = images.index[0]
  images = images.replace(positions=positions, index=index)
  params = decoder.prepare(params)
  length = np.array([len(prompt)])
  state = decoder.init_decode_state()
  requests = [
    Request(
      group_id=0, sample_index=i, prompt=prompt, response=prompt[:0],
      budget=vlm_checkpoints.NEW, seed=0, temperature=0.0,
    )
    for i in (0, 1)
  ]  # fmt: skip
  for seen, slot in ((images, 2), (None, 0)):
    prefix = decoder.prefill(params, wide, length, seen)
    asked = backend.slot_request(decoder, [0], requests[:1], [slot], 1)
    state = decoder.insert(prefix, state, asked)
  _, made = decoder.generate(params, state, np.int32(3), True)
  assert np.asarray(made.counts).tolist() == [vlm_checkpoints.NEW, 0, 24]
  return np.asarray(made.tokens)[[2, 0], : vlm_checkpoints.NEW]


VOCAB_END = vlm_checkpoints.VOCAB + 1  # no token ends a response


@pytest.mark.parametrize('scan_layers', thorough.after([False, True]))
@pytest.mark.parametrize(
  'name',
  thorough.but([*CASES], ['qwen3_vl', 'qwen2_5_vl', 'qwen2_vl', 'idefics3']),
)
def test_all_is_as_transformers_has_it(name, scan_layers, tmp_path):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params, processor = load(directory, scan_layers=scan_layers)
  golden = {
    key.removeprefix(f'{name}/'): GOLDEN[key]
    for key in GOLDEN
    if key.startswith(f'{name}/')
  }
  images = images_of(name, config, processor)
  if config.mrope_section:
    np.testing.assert_array_equal(images.positions[0], golden['positions'])
    delta = images.positions[0, -1, 0] + 1 - len(PROMPTS[name])
    assert delta == golden['delta']
  features, logits = see(name, config, params, processor)
  used = len(golden['features'])
  tower = {'features': features.merged}
  tower |= {f'deep_{k}': x for k, x in enumerate(features.deep)}
  worst = {}
  for key, x in tower.items():
    worst[key] = np.abs(x[0, :used] - golden[key]).max()
    np.testing.assert_allclose(x[0, :used], golden[key], atol=3e-5)
  banned = list(config.banned_ids)
  assert (logits[:, banned] < -1e29).all()
  expected = golden['logits']
  logits, expected = (
    np.delete(x, banned, axis=1) for x in (logits[-len(expected) :], expected)
  )
  worst['logits'] = np.abs(logits - expected).max()
  print(name, worst)
  np.testing.assert_allclose(logits, expected, atol=2e-5)
  if 'text_logits' in golden:
    text = PROMPTS[name][None, -vlm_checkpoints.TEXT :]
    columns = np.arange(text.shape[1], dtype=np.int32)[None]
    hidden, _ = policy.forward(
      config, params, text, columns, np.ones_like(columns)
    )
    found = heads.logits_of(config, params, hidden)[0]
    np.testing.assert_allclose(
      np.delete(found, banned, axis=1),
      np.delete(golden['text_logits'], banned, axis=1),
      atol=2e-5,
    )
  tokens, blind = greedy(name, config, params, processor)
  np.testing.assert_array_equal(tokens, golden['tokens'])
  assert (tokens != blind).any()


@pytest.mark.parametrize('name', CASES)
def test_exports_have_the_bits_they_came_from(name, tmp_path):
  source = vlm_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params, processor = load(source)
  generation = hf_config.read_generation(source)
  directory = tmp_path / 'out'
  hf.export(directory, config, params, generation, 'float32', source)
  # With this config.json transformers made the very golden numbers.
  written = json.loads((directory / 'config.json').read_text())
  assert written == EXPORTED[name]
  others, again, same = load(directory)
  assert (others, same) == (config, processor)
  jax.tree.map(np.testing.assert_array_equal, params, again)
  ours, theirs = (
    load_file(d / 'model.safetensors') for d in (directory, source)
  )
  if 'nested' in name:  # Written with the hub's names.
    theirs = {
      key.replace('language_model.', '').replace('model.visual', 'visual'): x
      for key, x in theirs.items()
    }
  assert set(ours) == set(theirs)
  for key, x in ours.items():
    np.testing.assert_array_equal(x, theirs[key])


@pytest.mark.parametrize('name', ['qwen3_vl', 'idefics3'])
def test_a_processor_is_written_where_none_is_copied(name, tmp_path):
  source = vlm_checkpoints.write(tmp_path / 'in', CASES[name])
  config, params, processor = load(source)
  directory = tmp_path / 'out'
  generation = hf_config.read_generation(source)
  hf.export(
    directory, config, params, generation, 'float32', processor=processor
  )
  assert hf_config.read_processor(directory) == processor
  if name == 'idefics3':  # Its tokenizer knows what is around a picture.
    source.joinpath('tokenizer.json').rename(directory / 'tokenizer.json')
  assert hf_config.read_config(directory) == config


@pytest.mark.parametrize('name', vlm_checkpoints.SQUARES)
def test_a_tokenizer_says_what_is_around_a_square(name, tmp_path):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES[name])
  vision = hf_config.read_config(directory).vision
  around = vision.start_ids, vision.end_ids
  assert around == vlm_checkpoints.marks(CASES[name])
  path = directory / 'tokenizer.json'
  text = path.read_text()
  for old, new in (('<image>', '<img>'), ('_around_image>', '>')):
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match='tokenizer.json: <fake_token_around'):
      hf_config.read_config(directory)
  path.unlink()
  assert hf_config.read_config(directory).vision.start_ids == ()


def test_embeddings_are_tied_as_the_class_has_it(tmp_path):
  config = change(CASES['idefics3'], text_config__tie_word_embeddings=True)
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES['idefics3'])
  (directory / 'config.json').write_text(json.dumps(config))
  assert not hf_config.read_config(directory).tie_embeddings


@pytest.mark.parametrize(
  'mesh', thorough.after([(2, 1, 4), (1, 2, 2)], whole=True), ids=str
)
@pytest.mark.parametrize('name', ['qwen3_vl', 'qwen2_5_vl', 'idefics3'])
def test_any_mesh_and_scanned_layers_hold_the_same(mesh, name, tmp_path):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES[name], files=3)
  expected, params, _ = load(directory)
  config, others, _ = load(directory, mesh, scan_layers=True)
  for tree, count in (
    (params, config.num_layers),
    (params['vision'], config.vision.num_layers),
  ):
    layers = [tree.pop(f'layer_{i}') for i in range(count)]
    tree['layers'] = jax.tree.map(lambda *xs: np.stack(xs), *layers)
  jax.tree.map(np.testing.assert_array_equal, params, others)
  generation = hf_config.read_generation(directory)
  hf.export(tmp_path / 'out', config, others, generation, 'float32', directory)
  ours, theirs = (
    tensor_files.Files(tmp_path / d).shapes() for d in ('out', 'in')
  )
  assert ours == theirs
  again = load(tmp_path / 'out', scan_layers=True)[1]
  jax.tree.map(np.testing.assert_array_equal, others, again)
  assert dataclasses.replace(config, scan_layers=False) == expected


def change(config, **changes):
  """A config with fields of its parts changed; '__' stands for the dot."""
  config = json.loads(json.dumps(config))
  for key, value in changes.items():
    *groups, last = key.split('__')
    at = config
    for group in groups:
      at = at[group]
    if value is None:
      at.pop(last)
    else:
      at[last] = value
  return config


@pytest.mark.parametrize(
  'name, changes, message',
  [
    ('qwen2_vl', dict(vision_config__hidden_size=64), 'hidden_size is 64.* 32'),
    ('qwen2_vl', dict(vision_config__embed_dim=None), 'embed_dim is None'),
    ('qwen2_5_vl', dict(vision_config__hidden_size=None), 'size is None'),
    ('qwen2_5_vl', dict(vision_config__out_hidden_size=48), 'out_hidden_size'),
    ('qwen2_5_vl', dict(vision_config__window_size=20), 'window_size is 20'),
    ('qwen2_5_vl', dict(vision_config__hidden_act='gelu'), "act is 'gelu'"),
    ('qwen2_5_vl', dict(vision_config__in_chans=1), 'in_chans is 1'),
    ('qwen2_5_vl', dict(head_dim=16), 'head_dim is 16'),
    ('qwen2_5_vl', dict(rope_scaling__mrope_section=[2, 3, 2]), 'sum is.* 4'),
    ('qwen2_5_vl', dict(rope_scaling__mrope_interleaved=True), 'interleaved'),
    (
      'qwen2_5_vl',
      dict(vision_config__fullatt_block_indexes=[3]),
      'ints from 0 to 2',
    ),
    ('qwen3_vl', dict(vision_config=None), 'vision_config is None'),
    ('qwen3_vl', dict(vision_config__num_heads=16), 'divide by 4'),
    ('qwen3_vl', dict(vision_config__num_position_embeddings=24), 'a square'),
    (
      'qwen3_vl',
      dict(vision_config__deepstack_visual_indexes=[1, 0]),
      'ascending',
    ),
    ('qwen3_vl', dict(image_token_id=96), 'a token below vocab_size = 96'),
    ('qwen3_vl', dict(image_token_id=None), 'image_token_id is None'),
    ('qwen3_vl', dict(text_config__hidden_act='gelu'), "'gelu' is not"),
    (
      'qwen3_vl',
      dict(text_config__rope_scaling__mrope_interleaved=False),
      'has to be true',
    ),
    ('idefics3', dict(vision_config=None), 'vision_config is None'),
    ('idefics3', dict(image_token_id=None), 'image_token_id is None'),
    ('idefics3', dict(scale_factor=4), 'scale_factor is 4.*of 6 patches'),
    ('idefics3', dict(vision_config__image_size=3), 'image_size is 3'),
    ('idefics3', dict(vision_config__image_size=76), 'none of .19, 25'),
    ('idefics3', dict(vision_config__hidden_act='gelu'), "act is 'gelu'"),
    ('idefics3', dict(vision_config__num_channels=1), 'num_channels is 1'),
    ('idefics3', dict(vision_config__num_attention_heads=5), 'of 32'),
    ('idefics3', dict(text_config__model_type='mistral'), "be 'llama'"),
    ('idefics3', dict(text_config__use_resampler=True), 'use_resampler is T'),
    ('idefics3', dict(text_config__hidden_act='gelu'), "'gelu' is not"),
    ('smolvlm', dict(model_type='idefics3'), "be 'smolvlm'"),
  ],
)  # fmt: skip
def test_what_would_be_computed_otherwise_is_refused(
  name, changes, message, tmp_path
):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES[name])
  text = json.dumps(change(CASES[name], **changes))
  (directory / 'config.json').write_text(text)
  with pytest.raises(ValueError, match=message):
    hf_config.read_config(directory)


def test_sizes_that_the_hub_leaves_out_are_those_of_the_class(tmp_path):
  config = change(
    CASES['qwen2_5_vl'],
    **{
      f'vision_config__{key}': None
      for key in ('depth', 'num_heads', 'patch_size', 'spatial_merge_size',
                  'temporal_patch_size', 'window_size', 'intermediate_size',
                  'fullatt_block_indexes', 'hidden_act')
    },
    vision_config__hidden_size=1280,
  )  # fmt: skip
  (tmp_path / 'config.json').write_text(json.dumps(config))
  found = hf_config.read_config(tmp_path).vision
  sizes = found.num_layers, found.num_heads, found.d_ff, found.patch_size
  assert sizes == (32, 16, 3420, 14)
  assert (found.window, found.full_layers) == (4, (7, 15, 23, 31))


@pytest.mark.parametrize(
  'name, changes, message',
  [
    ('qwen2_vl', dict(resample=1), 'resample is 1'),
    ('qwen2_vl', dict(patch_size=14), 'patch_size is 14'),
    ('qwen2_vl', dict(do_normalize=False), 'do_normalize is False'),
    ('qwen2_vl', dict(rescale_factor=1.0), 'rescale_factor is 1.0'),
    ('qwen2_vl', dict(image_std=[0.5, 0, 0.5]), 'above 0'),
    ('qwen2_vl', dict(min_pixels=1 << 17), 'no less than min_pixels = 131072'),
    ('smolvlm', dict(do_image_splitting=True), 'splitting is True.* be false'),
    ('smolvlm', dict(do_image_splitting=None), 'splitting is None.* be false'),
    ('smolvlm', dict(resample=3), 'resample is 3'),
    ('smolvlm', dict(do_resize=False), 'do_resize is False'),
    ('smolvlm', dict(size=dict(height=9, width=9)), 'longest_edge is None'),
    ('smolvlm', dict(size=dict(longest_edge=5000)), 'of an edge up to 4096'),
    ('smolvlm', dict(max_image_size=None), 'has to be of 6 patches'),
  ],
)
def test_a_processor_that_does_otherwise_is_refused(
  name, changes, message, tmp_path
):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES[name])
  path = directory / 'preprocessor_config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))
  with pytest.raises(ValueError, match=message):
    hf_config.read_processor(directory)


def test_settings_of_pictures_are_found_in_the_newer_file_too(tmp_path):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES['qwen2_vl'])
  expected = hf_config.read_processor(directory)
  path = directory / 'preprocessor_config.json'
  whole = dict(image_processor=json.loads(path.read_text()))
  path.with_name('processor_config.json').write_text(json.dumps(whole))
  path.unlink()
  assert hf_config.read_processor(directory) == expected
  assert hf_config.read_config(directory).vision.mean == (0.4, 0.5, 0.6)
  path.with_name('processor_config.json').unlink()
  defaults = hf_config.read_config(directory).vision.mean
  assert defaults == (0.48145466, 0.4578275, 0.40821073)
  text_only = hf_checkpoints.write(
    tmp_path / 'text', hf_checkpoints.CASES['qwen2']
  )
  with pytest.raises(ValueError, match='sees no pictures'):
    hf_config.read_processor(text_only)


def test_a_run_may_begin_with_one(tmp_path):
  """Its shape is keys of the config; what it sees with is read beside them."""
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES['qwen2_vl'])
  shape, sight = models.read_shape(directory), models.read_sight(directory)
  whole = hf_config.read_config(directory)
  assert shape['d_model'] == whole.d_model and not shape.keys() & sight.keys()
  assert sight['vision'] == whole.vision and sight['banned_ids']


def test_a_missing_tensor_of_the_tower_is_named(tmp_path):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES['qwen3_vl'])
  arrays = vlm_checkpoints.tensors(CASES['qwen3_vl'])
  arrays.pop('model.visual.blocks.1.attn.qkv.bias')
  hf_checkpoints.write(directory, CASES['qwen3_vl'], arrays)
  with pytest.raises(
    tensor_files.BadWeights, match='visual.blocks.1.attn.qkv.bias missing'
  ):
    load(directory)


def test_the_example_of_the_docs(tmp_path):
  directory = vlm_checkpoints.write(tmp_path / 'in', CASES['qwen3_vl'])
  pixels = vlm_checkpoints.pictures(CASES['qwen3_vl'])[0]
  Image.fromarray(pixels).save(tmp_path / 'photo.png')
  text = (HERE.parents[2] / 'docs' / 'vision.md').read_text()
  code = text.split('```python\n')[1].split('```')[0]
  for name, own in (
    ("'Qwen3-VL-2B-Instruct'", repr(str(directory))),
    ("'photo.jpg'", repr(str(tmp_path / 'photo.png'))),
    ('151655', str(vlm_checkpoints.IMAGE)),
  ):
    assert name in code
    code = code.replace(name, own)
  found = {}
  exec(compile(code, 'docs/vision.md', 'exec'), found)  # Our own text.
  rows, columns = vlm_checkpoints.BLOCKS[0]
  assert found['logits'].shape == (rows * columns + 2, vlm_checkpoints.VOCAB)
