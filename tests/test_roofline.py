"""Times from round numbers."""

import pytest

from k15 import policy
from launch import chips
from launch import costs

CHIP = chips.Chip('x', 1e12, 1, 1e9, 6e9, 3, (1, 1, 1), 8)
P = policy.PolicyConfig(
  vocab_size=32,
  num_layers=2,
  d_model=8,
  num_heads=4,
  num_kv_heads=2,
  head_dim=2,
  d_ff=16,
)
HALF = costs.Assumptions(0.5, 0.5, 0.5, 0.5, latency=1e-3)


def test_the_longest_of_three():
  time = costs.Time(compute=1, memory=3, network=2)
  assert time.seconds == 3 and time.bound == 'HBM'


def test_collectives_use_one_direction_of_one_dimension():
  # 6 GB/s are 1 GB/s there; half of it is reached, and each costs 1 ms.
  assert costs.network_seconds(CHIP, 1e9, 10, HALF) == pytest.approx(2.01)


def test_the_last_part_of_a_row_works_longest():
  # Rows of 4 tokens in 2 parts: 1 + 2 pairs and 3 + 4, a mean of 5.
  assert costs.context_imbalance(1) == 1
  assert costs.context_imbalance(2) == 1.5  # 7 / 5 for rows without end


def test_whole_rows():
  # Forward and backward at half the peak of two chips.
  work = 3 * costs.forward_flops(P, 2, 3)
  seconds = costs.whole_rows(CHIP, P, 2, 3, 1, 2, 3, 0.5)
  assert seconds == pytest.approx(work / 1e12)


def test_decode_step():
  time = costs.decode_step(CHIP, P, 4, 10, 2, 1e9, HALF)
  assert time.memory == 2.0
  assert time.compute == pytest.approx(costs.decode_flops(P, 4, 10) / 1e12)


def test_an_iteration():
  work = costs.Iteration(
    responses=10, length=90, prompt=10, budget=40, row_length=200, updates=4
  )
  assert work.rows(0.5) == 10  # 1,000 tokens in rows that hold 100 each
  # 40 + 40 + 10 tokens: cut twice, at 40 and 80 tokens after 10.
  assert work.resumes == 2
  assert work.resumed_length == 10 + 60
