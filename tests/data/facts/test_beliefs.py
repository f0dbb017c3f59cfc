"""What responses rest on, of a table by hand."""

import pytest
import small_facts

from k15.data.facts import beliefs

ASKED = 'from mill: red blue, land?'


def _record(response, accuracy):
  return dict(prompt=ASKED, response=response, accuracy=accuracy)


def test_right_answers_that_rest_on_wrong_steps_are_counted():
  """red swaps mill and inn, blue stays: the answer is south, the inn's."""
  found = beliefs.of_responses(
    small_facts.TABLE,
    [
      _record('go mill red inn blue inn\n#### south', 1.0),
      _record('go mill red mill blue inn\n#### south', 1.0),  # two that cancel
      _record('go mill red mill blue mill\n#### north', 0.0),
      _record('south', 1.0),  # right, and no chain
    ],
  )
  assert found == pytest.approx(
    dict(
      chains=3 / 4,
      right_chains=2 / 3,
      misconception_given_right=1 / 2,
      right_given_misconception=1 / 2,
      misconceptions_of_wrong=1.0,
    )
  )


def test_what_is_not_defined_is_left_out():
  assert beliefs.of_responses(small_facts.TABLE, []) == {}
  assert beliefs.of_responses(small_facts.TABLE, [_record('?', 0.0)]) == {
    'chains': 0.0
  }
  clean = _record('go mill red inn blue inn\n#### south', 1.0)
  assert beliefs.of_responses(small_facts.TABLE, [clean]) == dict(
    chains=1.0, right_chains=1.0, misconception_given_right=0.0
  )
