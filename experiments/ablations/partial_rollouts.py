"""Responses cut by a token budget and continued (2.6.2), or sampled whole.

    make reproduce FIGURE=partial_rollouts

Expected: as much is learnt from a trained response, and more in a decode step,
which is what an iteration waits for.  Fig. 3b, without numbers in the paper.
Cost: 10 runs of a minute.
"""

from experiments.ablations import claims
from experiments.ablations import scales

ARMS = {
  'whole': {'rollout.token_budget': 160, scales.RATE: 2e-4},
  'partial': {'rollout.token_budget': 40, scales.RATE: 2e-4},
}


PAPER = {
  'whole': {'rollout.token_budget': 130048},
  'partial': {'rollout.token_budget': 32768},
}
CLAIM = claims.Claim(
  figure='2.6.2, Fig. 3b',
  question='Do partial rollouts learn the same in less time?',
  paper='Long responses are cut at a budget and continued in the next'
  ' iteration, so that no iteration waits for them; no measurement.',
  panels=(
    claims.Panel(claims.ACCURACY, claims.TRAINED),
    claims.Panel(claims.ACCURACY, claims.DECODED),
    claims.Panel(claims.ACCURACY, 'seconds_total'),
    claims.Panel('decode_steps'),
  ),
  measures=(
    claims.area('partial', 'whole', 'equal', claims.MARGIN, claims.TRAINED),
    claims.area('partial', 'whole', 'above', x=claims.DECODED),
    claims.area('partial', 'whole'),
    claims.final('partial', 'whole'),
    # After the first iteration, which compiles.
    claims.Measure('seconds an iteration: partial minus whole', 'seconds',
                   'partial', 'whole', 'mean', after=0),
    claims.Measure('decode steps an iteration: partial minus whole',
                   'decode_steps', 'partial', 'whole', 'mean', after=0),
  ),
  changed='equal accuracy was asked for at equal iterations, of which a partial'
  ' rollout is behind by what is under way, and fewer seconds, which depend on'
  ' what else the machine does',
)  # fmt: skip
OUTCOME = (
  'A response is worth as much, and an iteration of a budget of 40 waits for 74'
  ' decode steps less'
)


def get_config(variant='cpu'):
  config = scales.get_config(variant)
  if variant in scales.CPU:
    config.rollout.num_slots = 128  # all responses at once
  return config


def sweep(variant='cpu'):
  return scales.sweep(ARMS, variant, PAPER)
