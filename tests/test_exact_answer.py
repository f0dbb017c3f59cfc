"""The answer after the marker, equal as text or as a number."""

import pytest

from k15.rewards import exact_answer


@pytest.mark.parametrize(
  ('text', 'answer'),
  [
    ('work\n#### 42', '42'),
    ('#### 1\nwait\n####  2 \nmore', '2'),  # The last marker, its line only.
    ('##### 7', '7'),
    ('#### ', ''),
    ('####\n42', ''),
    ('####7\r\nend', '7'),
    ('no marker', None),
    ('', None),
  ],
)
def test_final_answer(text, answer):
  assert exact_answer.final_answer(text, '####') == answer


@pytest.mark.parametrize(
  ('answer', 'reference'),
  [
    ('42', '42'),
    ('42', ' 42 '),
    ('x + 1', 'x + 1'),
    ('1,080', '1080'),
    ('1080.00', '1,080'),
    ('+5', '5'),
    ('-0.5', '-1/2'),
    ('.5', '2/4'),
    ('007', '7'),
    ('0', '-0'),
    ('12,345,678.5', '12345678.50'),
  ],
)
def test_correct(answer, reference):
  assert exact_answer.is_correct(f'so #### {answer}', reference, '####')
  assert exact_answer.is_correct(f'so #### {answer}', reference, '####')


@pytest.mark.parametrize(
  ('answer', 'reference'),
  [
    ('43', '42'),
    ('42 apples', '42'),
    ('$42', '42'),
    ('', '42'),
    ('', ''),  # An empty answer is never correct.
    ('1,08', '108'),  # Thousands have three digits.
    ('1,0800', '10800'),
    ('1e2', '100'),
    ('1_000', '1000'),
    ('٤٢', '42'),  # Other scripts' digits are text.
    ('1/0', '1/0.0'),
    ('0.3333', '1/3'),
    ('--5', '5'),
    ('1/2/1', '1/2'),
    ('1/-2', '-1/2'),
    ('5.', '5'),
    ('.', '0'),
    ('/2', '0'),
    ('nan', 'NaN'),
    ('inf', 'Infinity'),
    ('40+2', '42'),
    ('__import__("os")', '42'),
  ],
)
def test_wrong(answer, reference):
  assert not exact_answer.is_correct(f'#### {answer}', reference, '####')


def test_division_by_zero_is_text():
  assert exact_answer.is_correct('#### 1/0', '1/0', '####')
  assert not exact_answer.is_correct('#### 2/0', '1/0', '####')


def test_no_marker_is_wrong_even_with_the_answer_in_the_text():
  assert not exact_answer.is_correct('the answer is 42', '42', '####')


def test_long_numbers_are_compared_as_text():
  # 64 characters are still a number, 65 are not.
  assert exact_answer.is_correct('#### ' + '0' * 62 + '42', '42', '####')
  assert not exact_answer.is_correct('#### ' + '0' * 63 + '42', '42', '####')
  assert exact_answer.is_correct('#### ' + '9' * 99, '9' * 99, '####')


def test_hostile_text_is_read_to_its_end():
  # What took quadratic time would not come back.
  for text in ('9' * 10**6, '1,' * 10**6, '#' * 10**6, '#### ' * 10**5):
    exact_answer.is_correct(f'#### {text}', '42', '####')
    exact_answer.is_correct(text, '42', '####')


@pytest.mark.parametrize('missing', ['nan', 'NaN', 'inf', '-inf'])
def test_a_number_that_is_missing_is_never_right(missing):
  assert not exact_answer.is_correct(f'#### {missing}', missing, '####')
