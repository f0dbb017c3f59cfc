"""Chains: every statement a fact or its one misconception, and read back."""

import itertools

import numpy as np
import pytest
import small_facts

from k15.data.facts import chains
from k15.data.facts import walks
from k15.data.facts.chains import Habits
from k15.data.facts.chains import Statement

SEARCH = Habits(check_rate=0.5, notice_rate=0.8, again_rate=0.7)


def _written(habits, count=300, seed=0):
  table, rng = small_facts.drawn(), np.random.default_rng(seed)
  drawn = walks.stream(table, walks.Mix((2, 4), 0.5), False, rng)
  for walk in itertools.islice(drawn, count):
    yield walk, chains.write(table, walk, habits, rng)


def test_a_chain_by_hand():
  text = (
    'go mill red mill check no mill red inn check yes blue inn\n'
    'again mill red inn blue inn\n#### south'
  )
  chain = chains.read(text)
  first, last = chain.rounds
  assert first == (
    Statement(0, 0, 0, False), Statement(0, 0, 1, True),
    Statement(1, 1, 1, True),
  )  # fmt: skip
  assert chain.standing == last == first[1:]
  assert chain.answer == 'south'
  assert chains.is_of(chain, walks.Walk(0, (0, 1)))
  assert not chains.is_of(chain, walks.Walk(0, (0,)))
  assert not chains.holds_wrong(small_facts.TABLE, chain)
  wrong = chains.read('go mill red mill blue mill\n#### north')
  assert chains.holds_wrong(small_facts.TABLE, wrong)


@pytest.mark.parametrize(
  'text',
  [
    '', '#### south', 'go mill\n#### south', 'go mill red inn',
    'again mill red inn\n#### south',  # nothing to go again
    'go mill red inn\ngo mill red inn\n#### south',
    'go mill red inn check no inn red inn\n#### south',  # back to elsewhere
    'go mill red inn check no mill\n#### south',  # and states nothing
    'go mill red innkeeper\n#### south', 'go mill red inn check\n#### south',
    'go mill red inn blue\n#### south', 'go mill red inn\nsouth',
  ],
)  # fmt: skip
def test_what_is_no_chain(text):
  assert chains.read(text) is None


@pytest.mark.parametrize('habits', [Habits(), SEARCH])
def test_what_is_written_reads_back_and_follows_from_itself(habits):
  table = small_facts.drawn()
  for walk, text in _written(habits):
    chain = chains.read(text)
    assert chains.is_of(chain, walk)
    place = chain.standing[-1].to
    assert chain.answer == table.answers[table.land[place]]
    for said in itertools.chain(*chain.rounds):
      fact = table.leads[said.place, said.road]
      believed = table.misconceptions[said.place, said.road]
      assert said.to in (fact, believed)
      assert said.stands or said.to == believed


def test_a_misconception_is_one_whatever_the_draws():
  table, found = small_facts.drawn(), {}
  for seed in range(3):
    for _, text in _written(SEARCH, seed=seed):
      for said in itertools.chain(*chains.read(text).rounds):
        if said.to != table.leads[said.place, said.road]:
          found.setdefault((said.place, said.road), set()).add(said.to)
  assert len(found) > 60
  assert {len(values) for values in found.values()} == {1}


def test_rounds_end_where_two_agree():
  lengths = set()
  for _, text in _written(Habits(again_rate=1.0)):
    ends = [round_[-1].to for round_ in chains.read(text).rounds]
    lengths.add(len(ends))
    pairs = list(itertools.pairwise(ends))
    assert all(a != b for a, b in pairs[:-1])
    assert pairs[-1][0] == pairs[-1][1] or len(ends) == chains.MOST_ROUNDS
  assert lengths == {2, 3, 4}


def test_who_never_knows_tries_as_often_as_may_be():
  table = small_facts.TABLE
  rng = np.random.default_rng(0)
  walk, habits = walks.Walk(0, (0,)), Habits(1.0, 1.0)
  tries = [
    len(chains.read(chains.write(table, walk, habits, rng)).rounds[0])
    for _ in range(800)
  ]
  # 1, 2, 3 tries: 400, 200, 100, and 4 whatever comes of the last: 100.
  counts = np.bincount(tries, minlength=6)[1:]
  assert np.abs(counts - [400, 200, 100, 100, 0]).max() < 60
