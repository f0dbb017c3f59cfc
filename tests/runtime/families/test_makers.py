"""Pictures beside arithmetic: as many as asked, read truly, on one side."""

import numpy as np
import pytest

from experiments import base
from k15.config import keys
from k15.data import picture_problems
from k15.runtime import context
from k15.runtime import task as task_lib
from k15.runtime.families import makers
from k15.vision import images
from k15.vision import references
from k15.vision import rendered_text
from k15.vision import scenes


def config_of(**changes):
  config = base.get_config()
  config.task.update(
    name='pictures', train_problems=80, held_out_problems=60, guess_rate=0.0,
    give_up_rate=0.0,
  )  # fmt: skip
  config.sft.num_examples = 60
  share = changes.get('image_share', 0.5)
  config.vision.update(dict(rl_image_share=share) | changes)
  return config


def make(config, keep=references.forget):
  return makers.MAKERS['pictures'](config, keep)


def test_as_many_have_pictures_as_asked_and_all_pixels_are_kept():
  kept = {}
  train, held_out, examples = make(
    config_of(image_share=0.25),
    lambda ref, pixels: kept.setdefault(ref.digest, pixels),
  )
  assert (len(train), len(held_out), len(examples)) == (80, 60, 60)
  asked = [*train, *held_out, *(e.problem for e in examples)]
  assert sum(map(bool, (p.images for p in train))) == 20
  assert sum(map(bool, (p.images for p in held_out))) == 15
  assert kept.keys() == {d for p in asked for d in p.digests}
  for digest, pixels in kept.items():
    assert images.digest(pixels) == digest


def test_sides_share_neither_picture_nor_text():
  train, held_out, examples = make(config_of())
  ours = [*train, *(e.problem for e in examples)]

  def names(problems):
    texts = {p.id.removeprefix('image:') for p in problems}
    return texts | {d for p in problems for d in p.digests}

  assert not names(ours) & names(held_out)
  assert len({p.id for p in held_out}) == 60


def test_texts_stand_beside_their_pictures():
  _, held_out, _ = make(config_of(domains=('text', 'count', 'code')))
  by_id = {p.id: p for p in held_out}
  pictures = [p for p in held_out if rendered_text.is_rendered(p)]
  # In turns with the others; what is drawn twice is left out.
  assert 17 <= len(pictures) <= 20
  for picture in pictures:
    text = by_id[picture.id.removeprefix('image:')]
    assert text.answer == picture.answer and not text.images
  parts = makers.parts_of('pictures', held_out)
  assert sorted(parts.values()) == ['pictures'] * 30 + ['texts'] * 30


def test_programs_and_tables_are_learnt_as_texts_too():
  train, _, examples = make(config_of(domains=('table', 'code', 'count')))
  for problems in (train, [e.problem for e in examples]):
    texts = [p for p in problems if not p.images]
    domains = {p.domain for p in texts}
    assert domains >= {'table', 'printed', 'add'}
  for example in examples:
    if example.problem.domain == 'table':
      total = example.response.split('=')[-1].split('\n')[0]
      assert total == example.problem.answer
      assert example.problem.prompt.endswith('sum of the column')


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_all_or_none(share):
  train, held_out, examples = make(config_of(image_share=share))
  asked = [*train, *held_out, *(e.problem for e in examples)]
  assert {bool(p.images) for p in asked} == {share == 1}


def test_traces_read_then_work_and_end_in_the_answer():
  config = config_of(image_share=1.0, at_once_rate=0.0, domains=('text',))
  _, _, examples = make(config)
  for example in examples:
    text = rendered_text.text_of(example.problem)
    first, second, *_, last = example.response.split('\n')
    assert first.rpartition('wait ')[2] == f'see {text.prompt}'
    assert second.startswith('plan ')
    assert last == f'#### {example.problem.answer}'
  shares = np.mean([e.response[:5] == '#### ' for e in make(config_of())[2]])
  assert 0.1 < shares < 0.5  # Half of the half with pictures: 15 of 60.


def test_the_same_config_makes_the_same():
  assert make(config_of()) == make(config_of())
  other = config_of()
  other.seed = 1
  assert make(other)[0] != make(config_of())[0]


def test_the_config_names_the_domains_that_there_are():
  assert set(keys.PICTURE_DOMAINS) == set(picture_problems.DOMAINS)
  assert scenes.DOMAINS[0] in base.get_config().vision.domains


def test_a_policy_that_reads_no_pictures_is_not_asked_about_them():
  config = config_of()
  config.rollout.max_prompt_length = 200
  with pytest.raises(ValueError, match='1 pictures, and the policy sees none'):
    task_lib.build(config, context.make_tokenizer(config))
