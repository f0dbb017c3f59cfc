"""What responses rest on: how often a right one holds a wrong step, and pays.

Of a policy's responses it is what `odds` is of the writer's chains: where right
answers rest on misconceptions, a method that imitates them imitates those.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from k15.data.facts import chains
from k15.data.facts import walks
from k15.data.facts.table import Table
from k15.equations import correctness


def of_responses(
  table: Table, records: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
  """Shares of responses, each in [0, 1]; what is not defined is left out.

  Args:
    records: each with 'prompt', 'response' and 'accuracy', as of a run's
      evaluations; none but of this family.

  Returns:
    'chains': chains about their walk, of all responses, and of these
    'right_chains'; 'misconception_given_right', those whose answer rests on a
    wrong step, of right ones; 'right_given_misconception', right ones of those,
    the luck of wrong steps; 'misconceptions_of_wrong', of wrong steps those
    that are the writer's misconception.

  Raises:
    ValueError: a prompt asks for no walk.
  """
  right, wrong, believed = [], [], []
  for record in records:
    walk = walks.walk_of(record['prompt'])
    chain = chains.read(record['response'])
    if chain is None or not chains.is_of(chain, walk):
      continue
    right.append(correctness.is_right(record))
    wrong.append(chains.holds_wrong(table, chain))
    believed += [
      said.to == table.misconceptions[said.place, said.road]
      for said in chain.standing
      if said.to != table.leads[said.place, said.road]
    ]
  right, wrong = np.array(right, bool), np.array(wrong, bool)
  shares = {
    'chains': np.arange(len(records)) < len(right),
    'right_chains': right,
    'misconception_given_right': wrong[right],
    'right_given_misconception': right[wrong],
    'misconceptions_of_wrong': np.array(believed, bool),
  }
  return {name: float(of.mean()) for name, of in shares.items() if of.size}
