"""The report's sections of stages."""

import numpy as np

from k15.report import stage_charts


def _scores(rights, tokens):
  return [
    dict(reward=float(r), length=n, stop='eos' if r else 'max_length')
    for r, n in zip(rights, tokens, strict=True)
  ]


def test_the_way_has_a_row_a_stage_in_the_order_of_the_run():
  scores = dict(
    rl=_scores([1, 1, 1, 0], [40, 40, 60, 60]),
    sft=_scores([1, 0, 0, 0], [20, 20, 20, 20]),
  )
  html = stage_charts.way(('sft', 'curate', 'rl'), scores)
  assert html.index('<td>sft</td>') < html.index('<td>rl</td>')
  # 3 of 4: a standard error of sqrt(0.75 * 0.25 / 4) or of / 3.
  assert '75.0 ±' in html and '50.0 ±' in html
  assert '<td>75.0</td>' in html  # of SFT's responses are cut
  assert 'curate' not in html


def test_one_stage_is_no_way():
  assert stage_charts.way(('sft', 'rl'), dict(sft=_scores([1], [9]))) == ''


def test_points_of_the_picture():
  points = [('sft', 20.0, 0.25, 0.0, 0.2), ('<b>', 50.0, 0.75, 5.0, 0.2)]
  figure = stage_charts.draw(points)
  (axes,) = figure.axes
  texts = [text.get_text() for text in axes.texts if text.get_text()]
  assert texts == ['sft', '<b>']
  x = axes.lines[0].get_xdata()
  np.testing.assert_array_equal(x, [20.0, 50.0])


def test_a_section_for_each_stage_that_left_numbers():
  records = [
    {'stage': 'long_cot', 'step': i, 'sft/loss': 1.0, 'sft/token_accuracy': 0.5}
    for i in range(3)
  ]
  records += [
    {'stage': 'dpo', 'step': i, 'dpo/loss': 0.6, 'dpo/margin': 0.1}
    for i in range(3)
  ]
  funnels = dict(long_cot=dict(problems=8, sampled=16, kept=3, examples=[]))
  stages = ('sft', 'long_cot', 'dpo', 'evaluate')
  found = stage_charts.sections(stages, records, {}, funnels)
  sections = [section for section in found if section]
  assert len(sections) == 2
  assert 'Long-CoT warm-up' in sections[0]
  assert '8 problems, 16 sampled, 3 kept' in sections[0]
  assert 'Implicit rewards' in sections[1]


def test_a_stage_on_documents_shows_its_mixture():
  records = [
    {
      'stage': 'long_context', 'step': i, 'text/loss': 1.0,
      'text/loss_domain_qa': 1.0, 'text/held_out_loss': 1.0,
      'text/held_out_at_64': 1.0, 'text/held_out_at_128': 2.0,
      'text/needle_at_64': 0.5,
    }
    for i in range(2)
  ]  # fmt: skip
  qa = dict(there=0.1, asked=0.5, share=0.498, turns=5.0)
  mixture = dict(partial=dict(rows=[3, 4], domains=dict(qa=qa)))
  sections = stage_charts.sections(
    ('long_context',), records, dict(long_context=mixture), {}
  )
  assert 'Held-out loss by row length' in sections[0]
  assert 'Notes found by row length' in sections[0]
  assert 'Long-context activation: mixture' in sections[1]
  assert '<td>49.8</td><td>5.00</td>' in sections[1]
  # Of a run that has only begun there may be none.
  assert stage_charts.sections(('long_context',), records, {}, {})[1] == ''
