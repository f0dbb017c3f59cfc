"""Direct preference optimization: Kimi k1.5, section 2.4, Fig. 7 'w/ dpo'.

    python -m k15.main --config=experiments/long2short/dpo.py \\
        --config.checkpoint=runs/seed0/models/rl --workdir=runs/seed0_dpo

The shortest correct of eight responses is preferred to longer wrong ones and to
correct ones of 1.5 times its length.  Expected: between merging and RL.  Three
minutes on two cores, most of them for the responses.
"""

from experiments import arithmetic


def get_config():
  config = arithmetic.get_config()
  config.stages = ('dpo',)
  config.dpo.steps = 48
  config.dpo.learning_rate = 1e-4
  config.dpo.batch_pairs = 32
  config.evaluation.samples = 4
  return config
