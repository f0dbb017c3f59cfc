"""Long2short RL: Kimi k1.5, section 2.4, Fig. 7 'w/ rl'.

    python -m k15.main --config=experiments/long2short/rl.py \\
        --config.checkpoint=runs/seed0/models/rl --workdir=runs/seed0_short_rl

A second phase of RL with the length penalty and half the maximum length; a
response that is cut earns nothing.  Expected: of the four methods the best
accuracy at a given number of tokens.  Four minutes on two cores.
"""

from experiments import arithmetic


def get_config():
  config = arithmetic.get_config()
  config.stages = ('short_rl',)
  config.short_rl.iterations = 36
  config.evaluation.samples = 4
  return config
