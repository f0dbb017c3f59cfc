"""Problems with pictures by domain: as asked, on one side, and shown."""

import PIL.Image
import pytest

from k15.data import picture_problems
from k15.vision import real_images
from k15.vision import scenes

WITHOUT_EXTRA = [
  d for d in picture_problems.DOMAINS if d not in real_images.EXTRA
]


def make(count, held_out=False, seed=0, domains=WITHOUT_EXTRA, levels=(0, 2)):
  return picture_problems.make_problems(
    count, domains, levels, held_out, seed, 'training pictures', ('add',)
  )


def test_domains_and_levels_take_turns():
  found = make(36)
  assert len({each.problem.id for each in found}) == 36
  domains = {each.problem.domain for each in found}
  texts = {'image add', 'image printed', 'image table'}
  assert domains == {*scenes.DOMAINS, *texts, 'stocks'}
  assert {each.problem.difficulty for each in found} >= {0.0, 1.0}
  assert [d.problem for d in found] == [d.problem for d in make(36)]
  assert [d.problem for d in found] != [d.problem for d in make(36, seed=1)]


def test_sides_never_meet():
  sides = [
    {d for each in make(100, side, seed) for d in each.problem.digests}
    for side, seed in ((False, 0), (True, 1))
  ]
  assert not sides[0] & sides[1]
  # Nor do texts whose pictures are of other styles.
  ids = [
    {each.problem.id for each in make(60, side, seed, ('text', 'code'))}
    for side, seed in ((False, 0), (True, 1))
  ]
  assert not ids[0] & ids[1]


def test_a_sheet_shows_two_of_each_level(tmp_path):
  image = picture_problems.sheet(['count', 'text'], 0)
  assert image.size == (6 * 290, 2 * 300)
  image.save(tmp_path / 'sheet.png')
  assert PIL.Image.open(tmp_path / 'sheet.png').size == image.size


def test_what_is_no_domain_is_refused():
  with pytest.raises(KeyError):
    make(1, domains=('poems',))
