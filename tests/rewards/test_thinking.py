"""What counts of a response that thinks."""

import pytest

from k15.rewards import thinking


@pytest.mark.parametrize(
  ('response', 'said'),
  [
    ('It is 5.', 'It is 5.'),
    ('', ''),
    ('<think>4?</think> 5', ' 5'),
    ('4? </think> 5', ' 5'),
    ('<think>4? 5', None),
    ('<think>4?</think> 5 <think> or 6', None),
    ('<think>4?</think> 5 <think> or 6 </think> 7', ' 7'),
    ('<think>4? <think> 5 </think> 6', ' 6'),
  ],
)
def test_said(response, said):
  assert thinking.said(response) == said


@pytest.mark.parametrize(
  ('prompt', 'opening'),
  [
    ('<|Assistant|><think>\n', '<think>'),
    ('Assistant: <think>', '<think>'),
    # A template that answers without thinking closes it itself.
    ('<|im_start|>assistant\n<think>\n\n</think>\n\n', ''),
    ('Write <think> before you think.', ''),
    ('', ''),
  ],
)
def test_opening_of(prompt, opening):
  assert thinking.opening_of(prompt) == opening
