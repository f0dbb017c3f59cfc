"""Classic and chain-of-thought reward model, side by side on held-out answers.

    .venv/bin/python -m benchmarks.quality.reward_models --seeds 1 2 3

Kimi k1.5, section 2.3.5, trains both on about 800,000 examples and finds, in
spot checks by hand, accuracies of 84.4 and 98.5.  Here both start from the same
random trunk and see the same stream of answer pairs (`k15.data.answer_pairs`):
the classic one with labels, the other with the reasoning too.  A pair is about
18 tokens for the first and 46 for the second, which gives far more to learn
from, as in the paper; `--classic-epochs 3` gives the first three times the
steps.

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
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import answer_pairs
from k15.data_types import Example, Problem
from k15.generation import writers
from k15.rewards import reward_model
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import rollouts
from k15.runtime import task as task_lib
from k15.runtime import weights
from k15.stages import reward_models
from k15.stages import sft
from k15.training import logs

PAPER = dict(classic=84.4, reasoning=98.5)
WORDS = (
  'question: "', '"\nreference: "', '"\nresponse: "', '"\n', ' equal parts',
  ' of ', ' shared by ', 'factor it', 'work it out', 'how much', 'x^2', ')(x',
  'in this order', 'in any order', ', ', ' and ', ' is ', ' yes', ' no', ' r',
  '\nso ', 'min', 'week', 'days', '\n</think>', '{"correct": ', 'true}',
  'false}', '1 ',
)  # fmt: skip
SETTINGS = {
  'tokenizer.words': WORDS,
  'policy.num_layers': 3,
  'policy.logprob_chunk': 4096,
  'rollout.max_prompt_length': 40,
  'rollout.max_length': 64,
  'rollout.num_slots': 64,
  'rollout.prefill_batch': 32,
  'rollout.tokens_per_call': 16,
  'rollout.repetition_count': 0,
  'optimizer.micro_batch_rows': 8,
  'sft.batch_tokens': 1024,
  'sft.log_every': 100,
  'reward_model.batch_tokens': 1024,
  'reward_model.log_every': 100,
  'task.prompt_suffix': '',
}
TEMPERATURE = 0.3  # of the judge; a second attempt has to differ


def make_context(config, workdir, pairs):
  """A run of its own on these pairs: prompts, and judgements to imitate."""
  tokenizer = ByteTokenizer(config.tokenizer.words)
  examples = [
    Example(
      as_problem(pair),
      reward_model.make_judgement(pair.reasoning, pair.is_correct),
    )
    for pair in pairs
  ]
  task = task_lib.Task(tokenizer, '', [], [], examples)
  return context_lib.Context(
    config=config,
    workdir=workdir,
    layout=context_lib.make_layout(config, tokenizer),
    task=task,
    scorer=judges.make_scorer(config, task),
    logger=logs.Logger(workdir),
    stop=threading.Event(),
  )


def as_problem(pair):
  prompt = reward_model.make_prompt(pair.case)
  answer = 'correct' if pair.is_correct else 'wrong'
  return Problem(id=prompt, prompt=prompt, answer=answer, domain=pair.kind)


def train_reasoning(context):
  """Cases -> verdicts of the trained chain-of-thought model."""
  seed = context.config.seed
  state = sft.train(context, lambda: weights.init_params(context.layout, seed))
  rollout = rollouts.make_rollout(context, 'rl')
  rollout.set_params(state.params, version=0)
  generate = writers.as_function(
    rollout,
    context.task.tokenizer,
    context.config.rollout.max_prompt_length,
    context.config.rollout.max_length,
    TEMPERATURE,
  )
  return lambda cases: reward_model.judge_by_reasoning(cases, generate)


def train_classic(context, pairs):
  """Cases -> verdicts of the trained classic model."""
  encode = context.task.tokenizer.encode
  examples = [
    (encode(reward_model.make_prompt(pair.case)), pair.is_correct)
    for pair in pairs
  ]
  state = reward_models.train(context, examples)
  value = reward_models.make_value(context, state.params, rows=64)
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
  columns = config.rollout.max_prompt_length
  rows = config.reward_model.batch_tokens // columns
  out = {}
  for name in PAPER:
    start = time.perf_counter()
    folder = pathlib.Path(workdir) / f'{name}-{seed}'
    context = make_context(config, folder, pairs)
    if name == 'classic':
      steps = args.classic_epochs * len(pairs) // rows
      config.reward_model.steps = steps
      judge = train_classic(context, pairs)
    else:
      steps = config.sft.steps = _steps_of_text(context)
      judge = train_reasoning(context)
    accuracy, errors = measure(judge, held_out)
    seconds = time.perf_counter() - start
    out[name] = dict(accuracy=accuracy, errors=errors, seconds=seconds)
    print(
      f'seed {seed} {name:9}: {accuracy["all"]:.1f} % of {len(held_out)},'
      f' {errors} errors, {steps} steps, {seconds:.0f} s',
      flush=True,
    )
  return out


def _steps_of_text(context):
  """Steps in which each example is seen once."""
  pairs, _ = task_lib.sft_pairs(context.task, context.config.rollout.max_length)
  tokens = sum(len(prompt) + len(response) for prompt, response in pairs)
  return max(1, tokens // context.config.sft.batch_tokens)


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
  args = parser.parse_args()
  results = []
  with tempfile.TemporaryDirectory() as workdir:
    jax.config.update('jax_compilation_cache_dir', f'{workdir}/programs')
    for seed in args.seeds:
      results.append(run_seed(seed, args, workdir))
  report(results)


if __name__ == '__main__':
  main()
