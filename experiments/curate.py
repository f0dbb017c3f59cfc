"""Makes an RL prompt set of a file of problems: Kimi k1.5, section 2.1.

    python -m k15.main --config=experiments/curate.py --workdir=runs/curate \\
        --config.task.train_path=mixed.jsonl \\
        --config.curation.evaluation_paths="('math500.jsonl',)"

Rows have a `prompt` and an `answer`, perhaps `id`, `domain`, `discipline` and
`difficulty`; `python -m k15.data.problems` makes them of GSM8K, MATH and
MATH-500.  Only the steps that read the text: 15,000 problems against 1,800
take about a minute on one core.  The prompt set is
runs/curate/curation/prompts.jsonl, a file to train on; removed.jsonl says of
every other problem why it is not there.  With a model, --config.checkpoint, and
--config.curation.samples=10 --config.curation.guesses=8, the other steps run
too; the prompts then need room in the rollout.

`:arithmetic` lets a small policy learn arithmetic first, for about two minutes,
and draws 10 responses and 8 guesses for each of 160 problems from it;
`:smoke` does the same with less of everything.
"""

from experiments import arithmetic
from experiments import base


def get_config(variant=''):
  if variant in ('arithmetic', 'smoke'):
    return _arithmetic(variant)
  if variant:
    raise ValueError(f'unknown variant {variant!r}: arithmetic or smoke')
  config = base.get_config()
  config.stages = ('curate',)
  config.task.name = 'file'
  config.task.train_problems = 1 << 30  # all there are
  config.rollout.max_prompt_length = 4096  # bytes
  config.sft.batch_tokens = 8192
  config.curation.samples = 0
  config.curation.guesses = 0
  return config


def _arithmetic(variant):
  config = arithmetic.get_config('smoke' if variant == 'smoke' else '')
  config.stages = ('sft', 'curate')
  arithmetic.set_guesses(config)
  if variant == 'arithmetic':
    config.sft.steps = 600
    config.task.train_problems = 160
    config.task.held_out_problems = 32
    config.rollout.num_slots = 32
    config.rl.problems_per_iteration = 32
  return config
