"""Kimi k1.5's vanilla supervised fine-tuning (2.5.2) of a checkpoint.

    python -m k15.main --config=experiments/sft.py --workdir=runs/sft \\
        --config.checkpoint=Qwen2.5-7B \\
        --config.sft.files="('general.jsonl', 'code.parquet')" \\
        --config.task.train_path=math_train.json \\
        --config.task.held_out_path=math500.json

One epoch in rows of 32,768 tokens, while the learning rate falls from 2e-5 to
2e-6, then one in rows of 131,072, for which it is warmed up to 1e-5 again and
falls to 1e-6.  The second goes through the same files unless
--config.sft_long.files names others.  A file has `messages`, each with 'role'
and 'content', or `prompt` and `response`.

The paper mixes 500k general questions, 200k of code, 200k of mathematics and
science, 5k of creative writing and 20k of long context: files of those sizes
need no weights; others come in these proportions with
--config.sft.weights="(500,200,200,5,20)".

The held-out problems, MATH's fields here, are what the stages are evaluated on;
a conversation that asks one of them is left out and counted.  Batch sizes,
warm-up and the shape of the decay are not published.  `:smoke` runs the same on
a laptop, for a checkpoint of a few thousand weights.
"""

from experiments import math


def get_config(variant=''):
  config = math.get_config(variant)
  config.stages = ('sft', 'sft_long')
  config.sft.update(
    packing='first_fit',
    row_tokens=32768,
    epochs=1,
    batch_tokens=1 << 20,
    optimizer='adam',
    learning_rate=2e-5,
    end_learning_rate=2e-6,
    drop_too_long=True,
  )
  config.sft_long.drop_too_long = True
  # As in the first phase, unless the second is given its own.
  for key in ('files', 'weights'):
    config.sft_long[key] = config.sft.get_oneway_ref(key)
  if variant == 'smoke':
    for group, row in ((config.sft, 512), (config.sft_long, 1024)):
      group.update(row_tokens=row, batch_tokens=4 * row)
      group.update(warmup_steps=0, log_every=1)
  return config
