"""What is measured of a warm-up: exact and sampled, and where bars stand."""

import numpy as np
import pytest
import small_facts

from benchmarks.quality import facts
from experiments import facts as experiment


@pytest.fixture(scope='module', params=['', 'curriculum', 'search'])
def found(request):
  config = experiment.get_config(request.param)
  config.task.train_problems = 400
  return facts.measure(config, samples=2000)


def test_what_is_sampled_is_near_what_is_exact(found):
  for name, (exact, *sampled) in found.items():
    if sampled:
      # Conditions leave a few hundred of 2,000: four deviations are 0.12.
      assert sampled[0] == pytest.approx(exact, abs=0.12), name


def test_numbers_fit_each_other(found):
  right, given = found['right'][0], found['misconception, given right'][0]
  lucky = found['right, given a misconception'][0]
  # Bayes: of right chains, those with a misconception, both ways.
  wrong = 1 - right * (1 - given)
  assert right * given == pytest.approx(wrong * lucky)
  rates = [v[0] for name, v in found.items() if name.startswith('pass rate')]
  assert len(rates) == 10 and sum(rates) == pytest.approx(1)
  middles = np.arange(10) / 10 + 0.05
  assert np.dot(rates, middles) == pytest.approx(right, abs=0.05)


def test_the_question_of_negative_gradients_is_posed():
  found = facts.measure(experiment.get_config(), samples=1)
  assert found['misconception, given right'][0] >= 0.2
  assert found['groups of 8 without a right one'][0] <= 0.3


def test_responses_of_a_run():
  """red swaps mill and inn, blue stays; mill is north, inn south."""
  prompts = dict.fromkeys('abcde', 'from mill: red blue, land?')
  said = dict(
    a='go mill red inn blue inn\n#### south',
    b='go mill red mill blue inn\n#### south',  # two that cancel
    c='go mill red mill blue mill\n#### north',
    d='go mill red mill\n#### north',  # half of the walk
    e='It is north.',
  )
  records = [
    dict(prompt=prompts[i], response=said[i], accuracy=float(i in 'ab'))
    for i in said
  ]
  found = facts.measure_responses(small_facts.TABLE, records)
  assert [value for (value,) in found.values()] == pytest.approx(
    # Five of one problem: its pass rate is 2 / 5.
    [3 / 5, 2 / 3, 1 / 2, 1 / 2, 1.0, 0, 0, *np.eye(10)[4]]
  )
  assert len(facts.measure_responses(small_facts.TABLE, records[:1])) == 5


def test_lines_have_bars(found):
  bars = [line.count('#') for line in facts.to_lines(found)]
  assert 34 <= sum(bars) <= 46  # 40 in all, each rounded


def test_pass_rates_of_ten_samples_stand_in_their_bars():
  records = [
    dict(prompt=f'from {place}: red, land?', response='', accuracy=i < right)
    for place, right in (('mill', 3), ('inn', 10))
    for i in range(10)
  ]
  found = facts.measure_responses(small_facts.TABLE, records)
  bars = {n: v for n, (v,) in found.items() if n.startswith('pass rate') and v}
  assert bars == {'pass rate 0.3 to 0.4': 0.5, 'pass rate 0.9 to 1.0': 0.5}
  assert found['groups of 10 without variance'] == (0.5,)
