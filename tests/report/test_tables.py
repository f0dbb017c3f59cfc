"""Results as text."""

from k15.report import tables


def _result(**changes):
  spread = dict(value=0.5, low=0.25, high=0.75)
  tokens = dict(mean=10.04, p95=20.0)
  result = dict(problems=4, samples=2)
  result |= {'pass@1': spread, 'majority@2': spread | dict(ties=0.125)}
  result |= dict(
    tokens=dict(all=tokens, correct=dict(mean=None, p95=None), wrong=tokens),
    truncated=0.5,
    errors=0.25,
    errors_by_reason=dict(timeout=0.25),
  )
  return result | changes


def test_a_row_per_set():
  one = _result()
  two = _result(**{'pass@2': one['pass@1']}, errors_by_reason={})
  lines = tables.of_results(dict(a=one, longer=two), 0.9).splitlines()
  assert lines[0].split() == [
    'set', 'problems', 'samples', 'pass@1', 'pass@2', 'majority@2', 'tokens',
    'p95', 'right', 'wrong', 'truncated', 'errors',
  ]  # fmt: skip
  assert lines[2].split('  ')[0] == 'a'
  assert '0.500 [0.250, 0.750]' in lines[2]
  assert lines[2].count('0.500') == 2 and lines[3].count('0.500') == 3
  assert lines[2].endswith('10.0  20.0      -   10.0     50.0 %  25.0 %')
  assert lines[4].endswith('over problems, 90 %')
  assert lines[5] == 'a: majority@2: votes tied, and broken by lot: 12.5 %'
  assert lines[6] == 'a: errors: timeout 25.0 %'


def test_what_contests_add_is_said_below():
  vote = dict(value=0.5, low=0.0, high=1.0, ties=0.25)
  rating = dict(value=1432.4, low=1300.0, high=1560.0, is_bound=False)
  most = dict(value=4000.0, low=3000.0, high=4000.0, is_bound=True)
  found = _result(absent=['csharp', 'php']) | {
    'output_vote@2': vote,
    'rating': {'pass@1': rating, 'output_vote': most},
  }
  text = tables.of_results(dict(a=found), 0.9)
  assert 'majority@2' in text and 'output_vote@2' in text.splitlines()[0]
  assert text.splitlines()[-5:-1] == [
    'a: output_vote@2: votes tied, and broken by lot: 25.0 %',
    'a: Elo by pass@1: 1432 [1300, 1560]; an estimate from ratings of problems',
    'a: Elo by output_vote: 4000 [3000, 4000], a bound; an estimate from'
    ' ratings of problems',
    'a: no interpreter here of csharp, php',
  ]


def test_columns():
  rows = [['set', 'n'], ['longer', '1'], ['a', '100']]
  assert (
    tables.columns(rows) == 'set       n\n-----------\nlonger    1\na       100'
  )
