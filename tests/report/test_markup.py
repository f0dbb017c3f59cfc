"""Tests of k15/report/markup.py."""

from k15.report import markup as markup_lib


def test_text_is_escaped_and_shows_what_would_hide():
  assert (
    markup_lib.text('<b a="1">&\'') == '&lt;b a=&quot;1&quot;&gt;&amp;&#x27;'
  )
  # NUL, escape, right-to-left override, half a surrogate pair.
  hidden = '\x00\x1b\u202e\ud800'
  assert markup_lib.text(hidden) == '\\u0000\\u001b\\u202e\\ud800'
  assert markup_lib.text('a\n\tπ → 数') == 'a\n\tπ → 数'
  assert markup_lib.text(None) == 'None'


def test_a_long_response_keeps_its_ends():
  record = {'response': 'a' * 5000 + '<' * 3000, 'length': 8000, 'stop': 'eos'}
  markup = markup_lib.response('after RL', record, True)
  assert markup.count('aaaa') == 1600 // 4
  assert markup.count('&lt;') == 500
  assert '… 5,900 characters …' in markup


def test_a_response_names_its_verdict_and_segments():
  record = {'response': 'x', 'length': 137, 'stop': 'repetition'}
  whole = markup_lib.response('v', record | {'segments': [137]}, True)
  assert 'class="badge right"' in whole and 'policy' not in whole
  grown = record | {'segments': [128, 9], 'versions': [4, 5]}
  markup = markup_lib.response('v', grown, False)
  assert 'class="badge wrong"' in markup
  assert '137 tokens · stop: repetition' in markup
  assert '128 (policy 4) + 9 (policy 5)' in markup


def test_a_quotation_is_escaped_and_named():
  markup = markup_lib.quotation('repeats <b>', 'answer 3', 'a < b')
  assert '<b>repeats &lt;b&gt;</b>' in markup and 'answer 3' in markup
  assert '<pre>a &lt; b</pre>' in markup


def test_a_section_without_content_is_left_out():
  assert markup_lib.section('Empty', ['', markup_lib.cards([])]) == ''
  assert '<h2>Full</h2>' in markup_lib.section('Full', ['content'])


def test_settings_are_folded_and_grouped():
  values = {'seed': 0, 'stages': ['sft', 'rl'], 'loss': {'tau': '<0.1>'}}
  markup = markup_lib.settings(values)
  assert markup.startswith('<details>')
  assert '<caption>loss</caption>' in markup and '&lt;0.1&gt;' in markup
  assert 'sft, rl' in markup
  assert markup_lib.settings({}) == ''


def test_what_is_folded_has_a_title_and_a_page_may_have_rules_of_its_own():
  html = markup_lib.folded('a < b', markup_lib.table(['x'], [['1']]))
  assert html.startswith('<details><summary>a &lt; b</summary>')
  assert '<td>1</td>' in html
  assert 'td { color: red; }</style>' in markup_lib.document(
    't', html, 'td { color: red; }'
  )
