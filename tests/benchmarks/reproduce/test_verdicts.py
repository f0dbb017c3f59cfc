"""What an interval says, and what claims come to: by hand."""

import math

import fake_ablation as fake
import numpy as np
import pytest

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import findings
from benchmarks.reproduce import verdicts
from experiments.ablations import claims

HOLDS, OPPOSITE, NO_DIFFERENCE, CANNOT_TELL, NOT_POSED, NOTHING = (
  'holds', 'the opposite', 'no difference', 'cannot tell', 'not posed here',
  'nothing expected',
)  # fmt: skip


def _of(mean, half):
  return findings.Estimate((mean,), mean, half)


@pytest.mark.parametrize(
  ('found', 'expected', 'margin', 'verdict', 'sentence'),
  [
    (_of(0.05, 0.04), 'above', 0, HOLDS, 'wholly on the expected side'),
    (_of(0.05, 0.06), 'above', 0, CANNOT_TELL, 'no difference could be told'),
    (_of(-0.05, 0.06), 'above', 0, CANNOT_TELL, 'could be told'),
    (_of(-0.05, 0.04), 'above', 0, OPPOSITE, 'the opposite was measured'),
    (_of(-0.05, 0.04), 'below', 0, HOLDS, 'wholly on the expected side'),
    (_of(0.05, 0.04), 'below', 0, OPPOSITE, 'the opposite was measured'),
    (_of(0.05, 0.04), 'above', 0.02, CANNOT_TELL, 'could be told'),
    (_of(0.01, 0.01), 'equal', 0.03, HOLDS, 'wholly on the expected side'),
    (_of(0.01, 0.04), 'equal', 0.03, CANNOT_TELL, 'whether it is within 0.03'),
    (_of(0.04, 0.02), 'equal', 0.03, CANNOT_TELL, 'whether it is within 0.03'),
    (_of(0.10, 0.01), 'equal', 0.03, OPPOSITE, 'beyond 0.03 was measured'),
    (_of(0.10, 0.01), 'not_below', 0.03, HOLDS, 'wholly'),
    (_of(-0.02, 0.02), 'not_below', 0.03, CANNOT_TELL, 'is open'),
    (_of(-0.20, 0.02), 'not_below', 0.03, OPPOSITE, 'beyond 0.03'),
    (_of(-0.20, 0.02), 'not_above', 0.03, HOLDS, 'wholly'),
    (_of(0.05, math.nan), 'above', 0, CANNOT_TELL, 'a single seed'),
    (_of(0.00, 0.00), 'equal', 0.03, HOLDS, 'wholly'),
    (_of(math.nan, math.nan), 'above', 0, CANNOT_TELL, 'not defined'),
    (None, 'above', 0, CANNOT_TELL, 'not measured in these runs'),
  ],
)
def test_verdicts_of_a_number(found, expected, margin, verdict, sentence):
  finding = verdicts.judge(found, expected, margin)
  assert finding.verdict == verdict
  assert sentence in finding.sentence


@pytest.mark.parametrize('expected', ['above', 'below'])
@pytest.mark.parametrize(
  ('found', 'verdict'),
  [
    (_of(0.001, 0.02), NO_DIFFERENCE),
    # Within the margin it is none, whichever its sign.
    (_of(0.02, 0.005), NO_DIFFERENCE),
    (_of(-0.02, 0.005), NO_DIFFERENCE),
    (_of(0.02, 0.011), None),
    (_of(0.001, 0.03), CANNOT_TELL),
  ],
)
def test_no_difference_is_an_interval_within_the_margin(
  found, verdict, expected
):
  finding = verdicts.judge(found, expected, equivalence=0.03)
  own = {'above': HOLDS, 'below': OPPOSITE}[expected]
  assert finding.verdict == (verdict or own)


def test_expectations_that_mean_nothing():
  with pytest.raises(ValueError, match="'higher' is none of"):
    verdicts.judge(_of(0, 1), 'higher')
  with pytest.raises(ValueError, match='equal: margin 0.0 has to be positive'):
    verdicts.judge(_of(0, 1), 'equal')


def test_what_counts_as_none_is_known_of_accuracies_alone():
  def of(**settings):
    return claims.Measure('', arm='a', **settings).equivalence

  assert of(metric=claims.ACCURACY, by='area') == claims.MARGIN
  assert of(metric=claims.SUMMARY) == claims.MARGIN
  assert of(metric=claims.ACCURACY, margin=0.05) == 0.05
  assert of(metric=claims.ACCURACY, by='slope') == 0
  assert of(metric=claims.TOKENS) == 0


def _judged(*kinds):
  return {
    f'm{i}': verdicts.Finding(kind, f'is {kind}')
    for i, kind in enumerate(kinds)
  }


@pytest.mark.parametrize(
  ('kinds', 'verdict'),
  [
    ((HOLDS,), HOLDS),
    ((HOLDS, HOLDS), HOLDS),
    ((HOLDS, CANNOT_TELL), CANNOT_TELL),
    # What is refuted is so, whatever could not be told beside it.
    ((HOLDS, CANNOT_TELL, NO_DIFFERENCE), NO_DIFFERENCE),
    ((CANNOT_TELL, NO_DIFFERENCE, OPPOSITE, HOLDS), OPPOSITE),
    ((), NOTHING),
  ],
)
def test_a_claim_is_that_all_of_its_measures_are_so(kinds, verdict):
  assert verdicts.verdict(_judged(*kinds))[0] == verdict


def test_sentences_name_what_does_not_hold():
  assert verdicts.verdict(_judged(HOLDS, HOLDS))[1] == (
    'all 2 intervals lie where they were expected'
  )
  assert verdicts.verdict(_judged(HOLDS, OPPOSITE, CANNOT_TELL))[1] == (
    'm1: is the opposite; m2: is cannot tell; 1 of 3 hold'
  )


def _condition(found, least=None, most=None):
  return verdicts.Condition('visits', found, least, most)


@pytest.mark.parametrize(
  ('condition', 'fails', 'text'),
  [
    # The mean over seeds decides, and its ends are in the range.
    (_condition(_of(2.0, 1.5), 3), True, ': 2.0 ± 1.5, at least 3: fails'),
    (_condition(_of(3.0, 1.5), 3), False, 'at least 3: met'),
    (_condition(_of(0.7, 0.1), 0.1, 0.6), True, '0.1, at most 0.6: fails'),
    (_condition(_of(0.6, 0.1), 0.1, 0.6), False, 'at most 0.6: met'),
    (_condition(_of(math.nan, math.nan), 3), True, 'fails'),
    (_condition(None, 3), False, 'visits: not measured in these runs, at lea'),
  ],
)
def test_a_condition_by_its_mean(condition, fails, text):
  assert condition.fails == fails
  assert text in condition.text()


def test_a_check_that_fails_comes_before_all():
  fails = _condition(_of(2.0, 1.5), 3)
  kind, sentence = verdicts.verdict(_judged(HOLDS, OPPOSITE), [fails])
  assert (kind, sentence) == (NOT_POSED, fails.text())
  met = _condition(_of(4.0, 1.5), 3), _condition(None, 3)
  assert verdicts.verdict(_judged(HOLDS), met)[0] == HOLDS


def _curves(config):
  ours = config['loss.method'] == 'mirror_descent'
  accuracy = np.full(4, 0.5 + 0.2 * ours + config['seed'] / 100)
  return {
    'evaluation/accuracy': accuracy,
    'rl/log_ratio_rms': np.array([0.1, 0.2, 0.3, 0.4]) * (1 + ours),
  }


def _of_claim(tmp_path, *checks):
  config = fake.write_file(
    tmp_path / 'a.py', {'ours': {}, 'ReST': {'loss.method': 'rest'}}, seeds=3
  )
  units = fake.write_runs(config, tmp_path / 'r', _curves)
  arms, _ = data.read_arms(config, units, tmp_path / 'r')
  claim = claims.Claim(
    'Fig. 9', 'Is it so?', 'It is.', claims.BOTH,
    (claims.final('ours', 'ReST', 'above'),), checks,
  )  # fmt: skip
  return verdicts.of_claim(claim, 'Why.', arms)


def test_checks_are_measured_in_the_runs(tmp_path):
  def check(arm, **settings):
    return claims.Check('log-ratio', 'rl/log_ratio_rms', arm, **settings)

  result = _of_claim(tmp_path, check('ours', least=0.5))
  assert result.verdict == HOLDS
  (condition,) = result.conditions
  assert condition.found.mean == pytest.approx(0.5)  # of 0.2 0.4 0.6 0.8
  result = _of_claim(tmp_path, check(claims.EACH, by='final', least=0.5))
  # 0.6 of ours, and of ReST half of it.
  assert [c.what for c in result.conditions] == [
    'log-ratio, ours', 'log-ratio, ReST',
  ]  # fmt: skip
  assert [c.fails for c in result.conditions] == [False, True]
  assert result.verdict == NOT_POSED
  (finding,) = result.judged.values()
  assert finding.verdict == HOLDS  # It keeps its own.


def test_what_runs_should_have_logged_is_no_missing_condition(tmp_path):
  with pytest.raises(data.DataError, match='no value of rl/nope'):
    _of_claim(tmp_path, claims.Check('what', 'rl/nope', 'ours', least=1))
