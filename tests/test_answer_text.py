"""Where a response states its answer."""

import pytest

from k15.rewards import answer_text


@pytest.mark.parametrize(
  ('response', 'answer'),
  [
    (r'\boxed{\frac{1}{2}}', r'\frac{1}{2}'),
    (r'\boxed{1} or \boxed{2}', '1, 2'),
    (r'\boxed{1}, so it is \boxed{2}', '2'),
    (r'\boxed{1 paper} and \boxed{2}', '1 paper, 2'),
    (r'\boxed 7.', '7'),
    (r'\boxed{7', None),
    (r'\boxed{1}</think> \boxed{2}', '2'),
    (r'<think> \boxed{1}', None),
    (r'\boxed{1}<|im_end|>\boxed{2}', '1'),
    ('<answer> 5 </answer>', '5'),
    (r'\boxed{4} <answer>5</answer>', '5'),
    ('so\n#### 1,080\n', '1,080'),
    ('The answer is $x=3$. I hope it is correct.', '$x=3$'),
    ('The answer is not 7.', None),
    ('答案：18', '18'),
    ('It costs 3-5 dollars', '5'),
    ('AB12C', 'AB12C'),
    ('It was A2 or some such thing', None),
    ('We get $2$ and $3$', '2, 3'),
    ('', None),
  ],
)  # fmt: skip
def test_final_answer(response, answer):
  assert answer_text.final_answer(response) == answer


@pytest.mark.parametrize(
  ('reference', 'answer'),
  [
    ('7', '7'),
    (r'Hence \boxed{7}.', '7'),
    (r'\boxed{x = 7', 'x = 7'),
    ('so 3 + 4 = 7\n#### 7', '7'),
    ('word ' * 80 + 'the answer is 7.', '7'),
  ],
)
def test_reference_answer(reference, answer):
  assert answer_text.reference_answer(reference) == answer


def test_no_more_boxes_than_the_limit_are_one_list():
  answer = answer_text.boxed(' '.join(rf'\boxed{{{i}}}' for i in range(1000)))
  assert answer.split(', ') == [
    str(i) for i in range(1000 - answer_text.MAX_BOXES, 1000)
  ]
