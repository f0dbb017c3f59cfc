"""What stages read that have no files: as much as asked, nothing held out."""

import re

import pytest
import small_run
import small_sight

from k15.data import arithmetic
from k15.data_types import Problem
from k15.runtime.families import lessons
from k15.runtime.families import makers
from k15.vision import images
from k15.vision import references

STAGES = 'pretrain_text', 'pretrain_tower', 'pretrain_joint'
DOMAINS = 'count', 'relation', 'chart', 'text', 'code', 'table'


def config_of(folder, **changes):
  changes = {f'{stage}__num_examples': 100 for stage in STAGES} | changes
  changes = dict(
    stages=STAGES, vision__domains=DOMAINS, vision__levels=(0, 1, 2),
    task__guess_rate=0.0, task__give_up_rate=0.0,
  ) | changes  # fmt: skip
  return small_run.make_config(folder, **small_sight.changes_of(**changes))


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """Lessons by stage, the pixels handed over, and the config."""
  config, kept = config_of(tmp_path_factory.mktemp('lessons')), {}
  found = makers.lessons_of(
    config, lambda ref, pixels: kept.setdefault(ref.digest, pixels)
  )
  learnt = {stage: each.learnt for stage, each in found.items()}
  return learnt, kept, config


def kinds_of(examples):
  """How many are of pictures, descriptions, questions about them, and sums."""
  ids = [re.match(r'(read:text|described:text|read):', e.problem.id)
         for e in examples]  # fmt: skip
  names = [found[1] if found else 'sum' for found in ids]
  kinds = 'read', 'read:text', 'described:text', 'sum'
  return [names.count(kind) for kind in kinds]


def test_each_stage_gets_its_kinds(made):
  found, _, _ = made
  assert tuple(found) == STAGES
  assert kinds_of(found['pretrain_tower']) == [100, 0, 0, 0]
  # Pictures of arithmetic have no work of their own: others are drawn for them.
  assert kinds_of(found['pretrain_text']) == [0, 25, 50, 25]
  assert kinds_of(found['pretrain_joint']) == [50, 12, 24, 14]
  for stage, examples in found.items():
    assert len(examples) == 100
    shown = [e for e in examples if e.problem.images]
    assert len(shown) == kinds_of(examples)[0], stage


@pytest.mark.parametrize('count', [1, 2, 3, 7, 101])
def test_counts_add_up(count, tmp_path):
  changes = {f'{stage}__num_examples': count for stage in STAGES}
  found = makers.lessons_of(config_of(tmp_path, **changes), references.forget)
  assert {len(each.learnt) for each in found.values()} == {count}
  assert kinds_of(found['pretrain_joint'].learnt)[0] == round(count / 2)


def test_pixels_are_handed_over(made):
  found, kept, _ = made
  digests = {d for each in found.values() for e in each
             for d in e.problem.digests}  # fmt: skip
  assert digests <= kept.keys()
  for digest in digests:
    assert images.digest(kept[digest]) == digest


def test_nothing_held_out_is_read(made):
  found, _, config = made
  _, held_out, _ = makers.MAKERS['pictures'](config, references.forget)
  examples = [e for each in found.values() for e in each]
  seen = {d for e in examples for d in e.problem.digests}
  assert not seen & {d for p in held_out for d in p.digests}
  texts = {e.problem.prompt for e in examples}
  asked = {p.prompt for p in held_out if not p.images}
  assert asked and not texts & asked
  # What pictures show of arithmetic, and the sums, are of the trained side.
  shown = {e.response.removeprefix('see ') for e in examples}
  assert not shown & asked
  for example in examples:
    if example.problem.domain in arithmetic.KINDS:
      text = example.problem.prompt.removesuffix('\nread')
      assert not arithmetic.is_held_out(_sum(text)), text


def _sum(text):
  return Problem(text, text, '')


def test_descriptions_and_answers_are_true(made):
  for example in made[0]['pretrain_text']:
    first, *_ = example.problem.prompt.split('\n')
    if example.problem.id.startswith('read:'):
      assert example.response.startswith(f'see {first}')
    else:
      assert example.response.endswith(f'#### {example.problem.answer}')


def test_stages_draw_for_themselves_and_the_same_again(made, tmp_path):
  found, _, _ = made
  again = makers.lessons_of(config_of(tmp_path), references.forget)
  assert {stage: each.learnt for stage, each in again.items()} == found
  seen = [{d for e in found[s] for d in e.problem.digests} for s in STAGES[1:]]
  assert len(seen[0] & seen[1]) < len(seen[1]) / 2


def test_stages_with_files_and_other_tasks_have_none(tmp_path):
  config = config_of(tmp_path, pretrain_tower__files=('a.jsonl',))
  found = makers.lessons_of(config, references.forget)
  assert set(found) == {'pretrain_text', 'pretrain_joint'}
  config.task.name = 'arithmetic'
  assert makers.lessons_of(config, references.forget) == {}


def test_what_is_measured_is_held_out(made, tmp_path):
  learnt, kept, config = made
  found = makers.lessons_of(config_of(tmp_path), references.forget)
  examples = [e for each in learnt.values() for e in each]
  known = {d for e in examples for d in e.problem.digests}
  for stage, each in found.items():
    assert len(each.held_out) == lessons.HELD_OUT
    has_pictures = {bool(e.problem.images) for e in each.held_out}
    assert has_pictures == {stage != 'pretrain_text'}
    shown = {d for e in each.held_out for d in e.problem.digests}
    assert not shown & known
    if shown:
      assert shown <= kept.keys()
