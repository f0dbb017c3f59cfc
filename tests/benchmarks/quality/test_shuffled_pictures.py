"""Pictures change places with others that nothing else tells apart."""

from benchmarks.quality import shuffled_pictures
from k15.data_types import ImageRef, Problem


def problem(number, prompt, answer, width=8):
  image = ImageRef(f'{number:064x}', 8, width, 'drawn')
  return Problem(str(number), prompt, answer, images=(image,))


def test_a_picture_is_swapped_for_one_of_another_answer():
  asked = [problem(i, 'how many', str(i % 3)) for i in range(9)]
  wide = [problem(20 + i, 'how many', '3', 16) for i in range(3)]
  rest = [problem(30, 'which', '1'), Problem('31', 'how many', '2')]
  own, others = shuffled_pictures.swapped([*asked, *wide, *rest])
  assert {p.id for p in own} == {p.id for p in (*asked, *wide)}
  by_picture = {p.images: p for p in own}
  for before, after in zip(own, others, strict=True):
    shown = by_picture[after.images]
    assert (before.id, before.answer) == (after.id, after.answer)
    assert shown.id != before.id and shown.prompt == before.prompt
    assert shown.images[0].width == before.images[0].width
    assert before in wide or shown.answer != before.answer
  # Each picture is shown as often as before.
  assert {p.images for p in others} == {p.images for p in own}
