"""A stage knows what it began with."""

import json
import shutil
import threading

import pytest
import small_run

from experiments import base
from k15 import recipe
from k15.checkpoints import stage_inputs
from k15.config import keys
from k15.config import resume
from k15.runtime import context as context_lib

SFT = dict(stages=('sft',), sft__steps=2)


def test_a_run_may_be_given_further_stages_and_their_keys(tmp_path):
  context = small_run.make_context(tmp_path, **SFT)
  recipe.run(context)
  begun = stage_inputs.begun(context.workdir)
  assert begun == ['sft']
  record = json.loads((context.workdir / 'stages/sft.json').read_text())
  assert record['config']['sft']['steps'] == 2
  assert (record['source'], record['fingerprint']) == ('', '')
  old = resume.to_json(context.config)
  further = small_run.make_config(
    tmp_path, **SFT | dict(stages=('sft', 'rl'), loss__tau=0.4)
  )
  assert resume.refuse_changes(old, further, begun) == [
    'loss.tau: 0.1 -> 0.4',
    "stages: ['sft'] -> ['sft', 'rl']",
  ]
  with pytest.raises(keys.ConfigError, match='sft.steps: 2 -> 3'):
    further.sft.steps = 3
    resume.refuse_changes(old, further, begun)


def test_stages_that_have_begun_keep_their_places():
  old = resume.to_json(base.get_config())
  config = base.get_config()
  config.stages = ('rl',)
  with pytest.raises(keys.ConfigError, match="stages: .'sft', 'rl'."):
    resume.refuse_changes(old, config, ['sft'])
  assert resume.refuse_changes(old, config, []) == [
    "stages: ['sft', 'rl'] -> ['rl']"
  ]


def test_another_model_before_a_stage_is_named(tmp_path):
  both = SFT | dict(stages=('sft', 'rl'), rl__iterations=1)
  context = small_run.make_context(tmp_path, **both)
  recipe.run(context)
  recipe.run(context)  # Nothing has changed.
  longer = small_run.make_context(tmp_path, **both | dict(sft__steps=4))
  with pytest.raises(stage_inputs.Changed, match="stage 'rl' began with"):
    recipe.run(longer)


ROWS = [dict(prompt=f'{i}+1', answer=i + 1) for i in range(16)]


def _write(path, rows):
  path.parent.mkdir(exist_ok=True)
  path.write_text('\n'.join(json.dumps(row) for row in rows))
  return str(path)


def _config(folder, **changes):
  """Of RL on two files of the folder, as they are now."""
  return small_run.make_config(
    folder,
    **dict(
      stages=('rl',),
      rollout__token_budget=16,
      task__train_path=str(folder / 'train.jsonl'),
      task__held_out_path=str(folder / 'held_out.jsonl'),
    )
    | changes,
  )


def _go_on(folder, **changes):
  """What the command does: refuses in time, or runs to the end."""
  config = _config(folder, **changes)
  workdir = folder / 'run'
  if (workdir / 'config.json').exists():
    before = json.loads((workdir / 'config.json').read_text())
    begun = stage_inputs.begun(workdir)
    resume.refuse_changes(before, config, begun)
  now = resume.to_json(config)
  stage_inputs.check_files(workdir, now)
  context = context_lib.make(config, workdir, threading.Event())
  (workdir / 'config.json').write_text(json.dumps(now))
  return recipe.run(context)


@pytest.fixture(scope='module')
def rl_run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('inputs')
  _write(folder / 'train.jsonl', ROWS)
  _write(folder / 'held_out.jsonl', [dict(prompt='70+1', answer=71)])
  _go_on(folder, rl__iterations=1)
  return folder


@pytest.fixture
def folder(rl_run, tmp_path):
  """A copy of a run of one iteration, whose files a test may change."""
  shutil.copytree(rl_run, tmp_path, dirs_exist_ok=True)
  return tmp_path


@pytest.mark.parametrize(
  ('name', 'rows'),
  [
    ('train', ROWS[::-1]),
    ('train', ROWS[:12]),
    ('train', [ROWS[0] | dict(answer=2), *ROWS[1:]]),
    ('train', [*ROWS, dict(prompt='50+1', answer=51)]),
    ('held_out', [dict(prompt='71+1', answer=72)]),
    ('held_out', [dict(prompt='3+1', answer=4)]),
  ],
)
def test_a_file_that_changed_under_a_stage_is_named(folder, name, rows):
  path = _write(folder / f'{name}.jsonl', rows)
  with pytest.raises(stage_inputs.Changed) as error:
    _go_on(folder, rl__iterations=2)
  key = 'held_out_path' if name == 'held_out' else 'train_path'
  assert str(error.value) == (
    f"task.{key}: {path} is not the {name}.jsonl that stage 'rl' began with,"
    ' its content is another: take this back or choose another workdir'
  )


def test_files_may_move(folder):
  moved = folder / 'elsewhere' / 'train.jsonl'
  moved.parent.mkdir()
  (folder / 'train.jsonl').rename(moved)
  summary = _go_on(folder, rl__iterations=2, task__train_path=str(moved))
  assert 'accuracy_after_rl' in summary


def test_another_name_that_gives_problems_other_ids_is_refused(folder):
  (folder / 'train.jsonl').rename(folder / 'b.jsonl')
  with pytest.raises(stage_inputs.Changed, match='16 problems, .*another name'):
    _go_on(folder, rl__iterations=2, task__train_path=str(folder / 'b.jsonl'))


def test_a_held_out_file_that_was_none(folder):
  with pytest.raises(
    stage_inputs.Changed,
    match='held_out_path: .* began with held_out.jsonl, and now there is none',
  ):
    _go_on(folder, rl__iterations=2, task__held_out_path='')


def test_other_sets_may_be_evaluated_but_not_what_is_trained_on(folder):
  path = _write(folder / 'm.jsonl', [dict(problem='80 + 1', answer='81')])
  _go_on(folder, rl__iterations=2, evaluation__sets=(path,))
  _write(folder / 'm.jsonl', [dict(problem='7 + 1', answer='8')])
  with pytest.raises(
    stage_inputs.Changed,
    match=r'16 problems, and now there are 15.*evaluation.sets \(m.jsonl\)',
  ):
    _go_on(folder, rl__iterations=2, evaluation__sets=(path,))


def test_a_stage_that_saved_nothing_begins_anew(folder):
  shutil.rmtree(folder / 'run/checkpoints')
  shutil.rmtree(folder / 'run/models')
  _write(folder / 'train.jsonl', ROWS[:12])
  _go_on(folder, rl__iterations=1)
  record = json.loads((folder / 'run/stages/rl.json').read_text())
  assert record['problems']['number'] == 12


def test_a_run_of_before_there_were_records_of_files(folder, rl_run, capsys):
  path = folder / 'run/stages/rl.json'
  record = json.loads(path.read_text().replace(str(rl_run), str(folder)))
  del record['files'], record['problems']
  path.write_text(json.dumps(record))
  with pytest.raises(stage_inputs.Changed, match='of which nothing else is'):
    _go_on(folder, rl__iterations=2, task__train_path='other.jsonl')
  _go_on(folder, rl__iterations=2)
  assert "stage 'rl' began without a record of its" in capsys.readouterr().out
  assert json.loads(path.read_text())['problems']['number'] == 16


def _model(directory, **content):
  """What `models` takes for one, without weights that could be loaded."""
  directory.mkdir()
  files = {'config.json': {}, 'tokenizer.json': {}, 'model.safetensors': {}}
  for name, value in (files | content).items():
    (directory / name).write_text(json.dumps(value))
  return str(directory)


@pytest.mark.parametrize(
  ('stage', 'key', 'name'),
  [
    ('sft', 'checkpoint', 'tokenizer.json'),
    ('rl', 'checkpoint', 'chat_template.jinja'),
    ('rl', 'checkpoint', 'generation_config.json'),
    ('merge', 'long2short.short_model', 'model.safetensors'),
    ('short_rl', 'short_rl.candidates', 'model.safetensors'),
  ],
)
def test_models_and_tokenizers_are_inputs_too(tmp_path, stage, key, name):
  first, other = _model(tmp_path / 'a'), _model(tmp_path / 'b')
  (tmp_path / 'run/models' / stage).mkdir(parents=True)

  def check(path):
    config = base.get_config()
    value = (path,) if key == 'short_rl.candidates' else path
    config.update_from_flattened_dict({key: value})
    now = resume.to_json(config)
    stage_inputs.check_files(tmp_path / 'run', now)
    stage_inputs.check(tmp_path / 'run', stage, None, now)

  check(first)
  check(first)
  check(other)  # The same, copied.
  (tmp_path / 'b' / name).write_text('"x"')
  with pytest.raises(stage_inputs.Changed, match=f'{key}: {other} is not the'):
    check(other)


def test_only_stages_that_read_a_file_mind_it(tmp_path):
  path = _write(tmp_path / 'talks.jsonl', ROWS)
  config = base.get_config()
  config.sft_long.files = (path,)
  now = resume.to_json(config)
  for stage in ('sft', 'sft_long'):
    (tmp_path / 'models' / stage).mkdir(parents=True)
    _write(tmp_path / 'talks.jsonl', ROWS)
    stage_inputs.check(tmp_path, stage, None, now)
    _write(tmp_path / 'talks.jsonl', ROWS[1:])
    if stage == 'sft':
      stage_inputs.check_files(tmp_path, now)
      continue
    with pytest.raises(
      stage_inputs.Changed, match="sft_long.files: .* stage 'sft_long' began"
    ):
      stage_inputs.check_files(tmp_path, now)
