"""Classic and chain-of-thought reward model, side by side on held-out answers.

    .venv/bin/python -m benchmarks.quality.reward_models --seeds 1 2 3

Kimi k1.5, section 2.3.5, trains both on about 800,000 examples and finds, in
spot checks by hand, accuracies of 84.4 and 98.5.  Here both start from the same
random trunk and see the same stream of answer pairs (`k15.data.answer_pairs`):
the classic one with labels, the other with the reasoning too.  A pair is about
18 tokens for the first and 46 for the second, which gives far more to learn
from, as in the paper; `--classic-epochs 3` gives the first three times the
steps, `--text-weight 1` has it learn the texts too, and with `--warm` it begins
with the trunk of the other, as the paper's begins with a language model.

Prints one table, by form and in all, and a line RESULT with the numbers.
"""

import argparse
import collections
import itertools
import json
import pathlib
import statistics
import tempfile
import threading
import time

import jax
import numpy as np

from experiments import base
from experiments import judged
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import answer_pairs
from k15.rewards import reward_model
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import model_judges
from k15.runtime import task as task_lib
from k15.runtime import weights
from k15.stages import judging
from k15.stages import reward_models
from k15.stages import sft
from k15.training import logs

ROWS = 25  # of a step of the classic model
PAPER = dict(classic=84.4, reasoning=98.5)
SETTINGS = {
  'tokenizer.words': judged.WORDS,
  'policy.num_layers': 3,
  'policy.logprob_chunk': 4096,
  'rollout.prefill_batch': 32,
  'rollout.tokens_per_call': 16,
  'optimizer.micro_batch_rows': 8,
  'reward.threads': 64,
  'reward_model.max_prompt_length': 40,
  'reward_model.max_length': 64,
  'cot_rm.row_tokens': 104,
  'cot_rm.batch_tokens': 1024,
  'cot_rm.packing': 'best_fit',
  'cot_rm.log_every': 100,
  'classic_rm.log_every': 100,
}


def make_context(config, workdir):
  """A run of its own."""
  tokenizer = ByteTokenizer(config.tokenizer.words)
  task = task_lib.Task(tokenizer, '', [], [], [])
  return context_lib.Context(
    config=config,
    workdir=workdir,
    layout=context_lib.make_layout(config, tokenizer),
    task=task,
    scorer=judges.make_scorer(config, task),
    logger=logs.Logger(workdir),
    stop=threading.Event(),
  )


def train_reasoning(context, pairs):
  """The trained parameters, and cases -> verdicts."""
  seed = context.config.seed
  state = sft.train(
    context,
    lambda: weights.init_params(context.layout, seed),
    'cot_rm',
    lambda: judging.token_pairs(context, pairs),
  )
  judge = model_judges.by_reasoning(
    context.config, context.shape, state.params, context.task.tokenizer
  )
  return state.params, judge


def train_classic(context, pairs, trunk=None):
  """Cases -> verdicts of the trained classic model."""
  state = reward_models.train(
    context,
    judging.labelled(context, pairs),
    trunk and (lambda: jax.tree.map(lambda x: x.copy(), trunk)),
  )
  value = model_judges.make_value(
    context.shape, state.params, context.task.tokenizer.begin, columns=40,
    rows=64,
  )  # fmt: skip
  return lambda cases: reward_model.judge_by_value(cases, value)


def measure(judge, pairs):
  """Accuracy by form and in all, errors counted as mistakes and apart."""
  verdicts = judge([pair.case for pair in pairs])
  right, counts = collections.Counter(), collections.Counter()
  for pair, verdict in zip(pairs, verdicts, strict=True):
    expected = 'correct' if pair.is_correct else 'wrong'
    for key in (pair.kind, 'all'):
      counts[key] += 1
      right[key] += verdict.kind == expected
  accuracy = {key: 100 * right[key] / counts[key] for key in counts}
  return accuracy, sum(verdict.kind == 'error' for verdict in verdicts)


def run_seed(seed, args, workdir):
  """Trains and measures both models of one seed."""
  pairs = list(
    itertools.islice(
      answer_pairs.stream(answer_pairs.KINDS, np.random.default_rng(seed)),
      args.pairs,
    )
  )
  held_out = answer_pairs.make_pairs(
    args.held_out, answer_pairs.KINDS, held_out=True, seed=seed
  )
  config = base.get_config()
  config.update_from_flattened_dict(SETTINGS)
  config.seed = seed
  out, trunk = {}, None
  for name in ('reasoning', 'classic'):
    start = time.perf_counter()
    context = make_context(config, pathlib.Path(workdir) / f'{name}-{seed}')
    if name == 'classic':
      c = config.classic_rm
      c.text_weight = args.text_weight
      c.learning_rate, c.end_learning_rate = args.rate, args.rate / 10
      # As many pairs a step, with texts behind them or without.
      c.batch_tokens = ROWS * reward_models.columns_of(config)
      steps = c.steps = max(1, args.classic_epochs * len(pairs) // ROWS)
      c.warmup_steps = min(c.warmup_steps, steps - 1)
      judge = train_classic(context, pairs, args.warm and trunk)
    else:
      steps = config.cot_rm.steps = _steps_of_text(context, pairs)
      trunk, judge = train_reasoning(context, pairs)
    accuracy, errors = measure(judge, held_out)
    seconds = time.perf_counter() - start
    out[name] = dict(accuracy=accuracy, errors=errors, seconds=seconds)
    print(
      f'seed {seed} {name:9}: {accuracy["all"]:.1f} % of {len(held_out)},'
      f' {errors} errors, {steps} steps, {seconds:.0f} s',
      flush=True,
    )
  return out


def _steps_of_text(context, pairs):
  """Steps in which each example is seen once."""
  found, _ = judging.token_pairs(context, pairs)
  tokens = sum(len(pair.prompt) + len(pair.response) for pair in found)
  return max(1, tokens // context.config.cot_rm.batch_tokens)


def report(results):
  """The table, one row a form, mean and range over the seeds."""
  print(f'\n{"accuracy, %":22}{"classic RM":>22}{"chain-of-thought RM":>22}')
  for key in (*answer_pairs.KINDS, 'all'):
    cells = []
    for name in PAPER:
      accuracies = [result[name]['accuracy'] for result in results]
      # Of few pairs, some are of no form of that kind.
      seen = [accuracy[key] for accuracy in accuracies if key in accuracy]
      if not seen:
        cells.append('none')
        continue
      mean = statistics.fmean(seen)
      cells.append(f'{mean:.1f} ({min(seen):.1f}-{max(seen):.1f})')
    print(f'{key:22}' + ''.join(f'{cell:>22}' for cell in cells))
  print(f'{"Kimi k1.5, 800k":22}{PAPER["classic"]:>22}{PAPER["reasoning"]:>22}')
  values = {
    f'{name}_accuracy': [
      round(result[name]['accuracy']['all'], 2) for result in results
    ]
    for name in PAPER
  }
  values |= {
    f'{name}_errors': [result[name]['errors'] for result in results]
    for name in PAPER
  }
  values['seconds'] = round(
    sum(result[name]['seconds'] for result in results for name in PAPER)
  )
  print('RESULT', json.dumps(values))


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2, 3])
  parser.add_argument('--pairs', type=int, default=27000)
  parser.add_argument('--held-out', type=int, default=400)
  parser.add_argument('--classic-epochs', type=int, default=1)
  parser.add_argument('--rate', type=float, default=1e-3, help='its rate')
  parser.add_argument('--text-weight', type=float, default=0.0)
  parser.add_argument('--warm', action='store_true', help="the other's trunk")
  args = parser.parse_args()
  results = []
  with tempfile.TemporaryDirectory() as workdir:
    if not jax.config.jax_compilation_cache_dir:
      jax.config.update('jax_compilation_cache_dir', f'{workdir}/programs')
    for seed in args.seeds:
      results.append(run_seed(seed, args, workdir))
  report(results)


if __name__ == '__main__':
  main()
