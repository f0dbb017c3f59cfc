"""Tests of k15/report/funnel_chart.py."""

from k15.report import funnel_chart

STEPS = [
  dict(
    step='question type',
    before=10,
    removed=3,
    after=7,
    note='',
    reasons={'proof': 2, 'true/false': 1},
    examples=[
      dict(id='a', prompt='<Prove>', answer='', reason='proof', detail='seen')
    ]
    * 3
    + [
      dict(
        id='b',
        prompt='Is it?',
        answer='yes',
        reason='true/false',
        detail='yes',
        other_id='c',
        other_prompt='The other',
        other_answer='no',
      )
    ],
  ),
  dict(
    step='trivial',
    before=7,
    removed=0,
    after=7,
    note='left out',
    reasons={},
    examples=[],
  ),
]


def test_a_bar_for_what_stays_and_one_for_what_goes():
  axes = funnel_chart.draw(STEPS).axes[0]
  assert [bar.get_width() for bar in axes.patches] == [7, 3, 7, 0]
  labels = [text.get_text() for text in axes.texts]
  assert labels == ['7  (−3)', '7  left out']


def test_tags_show_before_and_after():
  axes = funnel_chart.draw_tags({'m / a$': [9, 4], 'm / b': [2, 2]}).axes[0]
  assert [text.get_text() for text in axes.texts] == ['4 of 9', '2']
  assert [t.get_text() for t in axes.get_yticklabels()] == ['m / a', 'm / b']


def test_the_section_shows_two_examples_of_a_reason_escaped():
  markup = funnel_chart.section(dict(steps=STEPS, tags={'m / a': [7, 7]}))
  assert markup.count('&lt;Prove&gt;') == 2
  assert 'question type: proof' in markup and '2 removed' in markup
  assert 'repeats c' in markup and 'The other' in markup
  assert markup.count('<img') == 2


def test_without_a_funnel_there_is_no_section():
  assert funnel_chart.section({}) == ''


def test_documents_have_sections_of_their_own():
  funnel = dict(steps=STEPS, tags={'books': [7, 7]})
  files = {'<a>/documents.jsonl': funnel, 'b': {}}
  markup = funnel_chart.of_documents('pretrain', files)
  assert markup.count('<h2>') == 1
  assert 'pretrain: &lt;a&gt;/documents.jsonl' in markup
  assert 'documents that stay' in markup and 'problems' not in markup
  axes = funnel_chart.draw(STEPS, 'documents').axes[0]
  assert axes.get_xlabel() == 'documents'
  # 'yes' and 'no'; what has no answer says nothing of one.
  assert markup.count('&lt;Prove&gt;') == markup.count('<span>answer') == 2
  assert funnel_chart.of_documents('pretrain', {}) == ''
