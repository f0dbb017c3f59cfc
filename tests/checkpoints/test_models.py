"""Models on disk: what a run begins with, and what its stages leave."""

import dataclasses
import json
import os
import threading

import hf_checkpoints
import jax
import numpy as np
import pytest
import small_checkpoint
import small_run

from experiments import math as math_experiment
from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.config import checks
from k15.config import resume
from k15.model import policy
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.runtime import weights
from k15.stages.rl import loop

SHORT = dict(stages=('rl',), rl__iterations=1)


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  folder = tmp_path_factory.mktemp('models')
  return small_checkpoint.write(folder / 'Qwen2.5-tiny')


def _math_context(checkpoint, folder, workdir='run'):
  """The smoke variant of the experiment, as `k15.main` prepares it."""
  config = math_experiment.get_config('smoke')
  config.checkpoint = str(checkpoint)
  config.task.train_path = str(
    small_checkpoint.write_problems(folder / 'train.json')
  )
  config.rl.iterations = 2
  context_lib.adopt_checkpoint(config)
  checks.validate(config, jax.device_count(), config.task.kinds)
  return context_lib.make(config, folder / workdir, threading.Event())


@pytest.fixture(scope='module')
def trained(checkpoint, tmp_path_factory):
  """Two iterations of experiments/math.py:smoke."""
  context = _math_context(checkpoint, tmp_path_factory.mktemp('math'))
  recipe.run(context)
  context.scorer.close()
  return context


def test_the_shape_is_the_checkpoints(trained):
  case = hf_checkpoints.CASES['qwen2']
  shape = trained.shape
  assert (shape.vocab_size, shape.d_model) == (320, case['hidden_size'])
  assert shape.num_layers == case['num_hidden_layers']
  assert shape.rope_theta == case['rope_theta']
  assert shape.qkv_bias and not shape.qk_norm and shape.scan_layers
  written = resume.to_json(trained.config)
  assert written['policy']['d_model'] == case['hidden_size']


def test_prompts_go_through_the_chat_template(trained):
  task = trained.task
  tokens = task.encode_prompt('What is $1+1$?')
  text = task.tokenizer.render(
    [dict(role='user', content='What is $1+1$?' + task.prompt_suffix)]
  )
  assert text.endswith('<|im_start|>assistant\n')
  # 1 is <|im_start|> in the small tokenizer: a special token, not its letters.
  assert tokens[0] == 1 and (tokens == 1).sum() == 2


def test_any_of_the_ids_ends_a_response(trained):
  slots = rollouts.make_slots(
    trained.config, trained.layout, trained.task.tokenizer
  )
  assert slots.eos_ids == (2, 0)
  assert trained.task.tokenizer.eos_id == 2  # <|im_end|>, of the template


def test_a_stage_leaves_a_model_that_is_what_it_trained(trained, checkpoint):
  directory = trained.workdir / 'models/rl'
  state = loop.train(trained, make_params=None)  # Done, and so only restored.
  assert models.read_origin(directory) == models.Origin('rl', 2, state.step)
  _same(weights.load_params(trained, directory), state.params)
  raw = json.loads((directory / 'config.json').read_text())
  assert raw['architectures'] == ['Qwen2ForCausalLM']
  assert raw['eos_token_id'] == [2, 0]
  for name in ('tokenizer.json', 'tokenizer_config.json'):
    assert (directory / name).read_bytes() == (checkpoint / name).read_bytes()


def test_a_run_goes_on_from_the_workdir_of_another(trained, tmp_path):
  context = _math_context(trained.workdir, tmp_path)
  assert context.shape == trained.shape
  _same(
    weights.load_params(context, models.directory_of(trained.workdir)),
    weights.load_params(trained, trained.workdir / 'models/rl'),
  )
  context.scorer.close()


def test_a_model_of_bytes_comes_back_with_its_words(tmp_path):
  context = small_run.make_context(
    tmp_path, tokenizer__words=('one ', ' two'), **SHORT
  )
  recipe.run(context)
  path = context.workdir / 'models/rl'
  assert models.directory_of(context.workdir) == path
  tokenizer = models.read_tokenizer(path)
  assert tokenizer.words == ('one ', ' two')
  assert tokenizer.eos_id == context.task.tokenizer.eos_id
  # One may have more rows than its tokenizer has ids: `policy.vocab_size`.
  config = path / 'config.json'
  raw = json.loads(config.read_text())
  config.write_text(json.dumps(raw | dict(vocab_size=1024)))
  assert models.read_tokenizer(path).vocab_size == 1024
  config.write_text(json.dumps(raw))
  again = small_run.make_config(tmp_path, checkpoint=str(context.workdir))
  again.policy.d_model = 8  # not read: the checkpoint's takes its place
  context_lib.adopt_checkpoint(again)
  assert again.policy.d_model == context.shape.d_model
  assert again.tokenizer.words == ('one ', ' two')


def test_the_last_stage_is_meant(tmp_path):
  context = small_run.make_context(
    tmp_path, **SHORT | dict(stages=('sft', 'rl'))
  )
  recipe.run(context)
  assert models.directory_of(context.workdir).name == 'rl'
  # A copy has the times in which its files happened to be written.
  os.utime(context.workdir / 'models/sft' / models.ORIGIN, (2e9, 2e9))
  assert models.directory_of(context.workdir).name == 'rl'


def _workdir(folder, stages, made):
  """A workdir with the models of some stages, made in this order."""
  if stages is not None:
    files.replace_file(
      folder / 'config.json', json.dumps(dict(stages=stages)).encode()
    )
  for stage in made:
    path = folder / 'models' / stage / models.ORIGIN
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(dict(stage=stage, done=1, step=1)))
  return folder


@pytest.mark.parametrize(
  ('stages', 'made', 'last'),
  [
    (['sft', 'rl', 'short_rl'], ['short_rl', 'sft', 'rl'], 'short_rl'),
    # The alphabet, and the order of the table of stages, are other ones.
    (['rl', 'merge', 'dpo', 'curate'], ['dpo', 'merge', 'rl'], 'dpo'),
    (['sft', 'rl', 'short_rl'], ['rl', 'sft'], 'rl'),  # The last goes on.
    (['rl', 'sft'], ['rl', 'sft'], 'sft'),
    (['sft', 'rl'], ['sft', 'rl.new'], 'sft'),  # One that is being written.
    (None, ['sft'], 'sft'),
  ],
)
def test_the_order_is_that_of_the_config(tmp_path, stages, made, last):
  assert models.directory_of(_workdir(tmp_path, stages, made)).name == last


def test_a_model_that_is_being_written_is_none(tmp_path):
  with pytest.raises(ValueError, match='no stage has finished'):
    models.directory_of(_workdir(tmp_path, ['sft'], ['sft.new']))


def test_a_workdir_that_does_not_say_its_order(tmp_path):
  """Where config.json is lost, the records of the stages have the order."""
  workdir = _workdir(tmp_path, None, ['rl', 'sft'])
  with pytest.raises(
    ValueError, match='models rl, sft, and nothing there says'
  ):
    models.directory_of(workdir)
  (workdir / 'stages').mkdir()
  for place, stage in enumerate(['sft', 'rl']):
    path = workdir / 'stages' / f'{stage}.json'
    path.write_text(json.dumps(dict(place=place)))
  assert models.directory_of(workdir).name == 'rl'


def test_a_model_of_another_policy_is_not_loaded(trained):
  """Rotary positions are in no tensor, and shapes would not tell."""
  layout = weights.param_layout(trained.layout)
  params, step = models.load(trained.workdir, trained.shape, layout)
  _same(params, loop.train(trained, make_params=None).params)
  assert step == models.read_origin(trained.workdir / 'models/rl').step > 0
  other = dataclasses.replace(trained.shape, rope_theta=7.0)
  with pytest.raises(ValueError, match='rope_theta is .*, and here it is 7.0'):
    models.load(trained.workdir, other, layout)


def test_an_extended_run_replaces_its_model(tmp_path):
  short = dict(stages=('sft',), sft__steps=2)
  recipe.run(small_run.make_context(tmp_path, **short))
  context = small_run.make_context(tmp_path, **short | dict(sft__steps=4))
  directory = context.workdir / 'models/sft'
  first = weights.load_params(context, directory)
  recipe.run(context)
  assert models.read_origin(directory) == models.Origin('sft', 4, 4)
  second = weights.load_params(context, directory)
  same = jax.tree.map(lambda a, b: bool((a == b).all()), first, second)
  assert not all(jax.tree.leaves(same))


def test_what_is_no_model_is_refused(tmp_path):
  with pytest.raises(ValueError, match='is no model: it has no config.json'):
    models.directory_of(tmp_path)
  files.replace_file(tmp_path / 'config.json', b'{"stages": ["rl"]}')
  with pytest.raises(ValueError, match='no stage has finished'):
    models.directory_of(tmp_path)
  for path, sentence in (
    ('nowhere', 'a .gguf file is needed, and it does not exist'),
    ('config.json', 'a .gguf file is needed, and it is a file'),
    ('checkpoints/rl', r'a stage leaves one in models/<stage> of its workdir'),
  ):
    (tmp_path / 'checkpoints/rl').mkdir(parents=True, exist_ok=True)
    with pytest.raises(ValueError, match=sentence):
      models.directory_of(tmp_path / path)


def test_every_key_of_a_shape_is_one_of_the_config():
  keys = set(policy.PolicyConfig.__dataclass_fields__) - {'vocab_size'}
  assert set(models.HOW) < keys


@pytest.mark.parametrize('text', ['{', '[]', '{}', '{"words": "x"}'])
def test_odd_files_of_ours_are_refused_in_a_sentence(text, tmp_path):
  for name, read in (
    (models.BYTE_TOKENIZER, models.read_words),
    (models.ORIGIN, models.read_origin),
  ):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f'^{tmp_path / name}.*$'):
      read(tmp_path)
