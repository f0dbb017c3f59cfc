"""The problems of a run: what to train on, what to hold out, what to imitate.

`build` turns `config.task` into a `Task`: from the endless arithmetic family,
or from a user's own file.
"""

import dataclasses
from typing import Any

import numpy as np

from k15 import arithmetic
from k15 import arithmetic_traces
from k15 import data
from k15.data_types import Problem
from k15.tokenizer import ByteTokenizer


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """Problems and examples, and how text becomes tokens.

  Attributes:
    tokenizer: of prompts and responses.
    prompt_suffix: text between a prompt and its response.
    train: the RL prompt set D.
    held_out: problems no stage trains on.
    examples: warm-up solutions of training problems, perhaps none.
  """

  tokenizer: ByteTokenizer
  prompt_suffix: str
  train: list[Problem]
  held_out: list[Problem]
  examples: list[data.Example]

  def encode_prompt(self, prompt: str) -> np.ndarray:
    """int32 [T]."""
    return self.tokenizer.encode(prompt + self.prompt_suffix)


def build(config: Any) -> Task:
  """Makes the task of a config; the same for the same config and seed.

  Raises:
    ValueError: a malformed file, with the line's number; a prompt longer than
      `rollout.max_prompt_length`; too few problems for an iteration, or no
      worked solution for SFT.
    FileNotFoundError: no such file.
  """
  tokenizer = ByteTokenizer(config.tokenizer.words)
  make = _arithmetic if config.task.name == 'arithmetic' else _file
  train, held_out, examples = make(config)
  task = Task(
    tokenizer=tokenizer,
    prompt_suffix=config.task.prompt_suffix,
    train=train,
    held_out=held_out,
    examples=examples,
  )
  curates = 'curate' in config.stages  # It says which prompts are too long.
  for problem in held_out if curates else train + held_out:
    length = len(task.encode_prompt(problem.prompt))
    if length > config.rollout.max_prompt_length:
      raise ValueError(
        f'the prompt of {problem.id!r} has {length} tokens, more than'
        f' rollout.max_prompt_length = {config.rollout.max_prompt_length}'
      )
  _check_enough(config, task)
  return task


def _check_enough(config, task):
  """Refuses what a stage would trip over later."""
  wanted = config.rl.problems_per_iteration
  if 'rl' in config.stages and len(task.train) < wanted:
    raise ValueError(
      f'there are {len(task.train)} training problems, fewer than'
      f' rl.problems_per_iteration = {wanted}'
    )
  # The end-of-sequence token needs a place too.
  most = config.rollout.max_length - 1
  lengths = (len(task.tokenizer.encode(e.response)) for e in task.examples)
  if 'sft' in config.stages and not any(n <= most for n in lengths):
    raise ValueError(
      f"stage 'sft' has nothing to learn from: {len(task.examples)} worked"
      f' solutions, none of at most rollout.max_length - 1 = {most} tokens'
    )


def sft_pairs(task: Task, max_length: int) -> tuple[list, int]:
  """Token pairs (prompt, response) of the examples that fit, and the misses."""
  eos = np.array([task.tokenizer.eos_id], np.int32)
  pairs = [
    (
      task.encode_prompt(example.problem.prompt),
      np.concatenate([task.tokenizer.encode(example.response), eos]),
    )
    for example in task.examples
  ]
  kept = [pair for pair in pairs if len(pair[1]) <= max_length]
  return kept, len(pairs) - len(kept)


def _arithmetic(config):
  t = config.task
  draw = (t.kinds, t.min_difficulty, t.max_difficulty)
  train = arithmetic.make_problems(t.train_problems, *draw, False, config.seed)
  held_out = arithmetic.make_problems(
    t.held_out_problems, *draw, True, config.seed
  )
  habits = arithmetic_traces.Habits(t.give_up_rate, t.guess_rate, t.slip_rate)
  rng = np.random.default_rng([config.seed, 2])
  problems = arithmetic.stream(*draw, rng)
  examples = []
  for problem in problems:
    if len(examples) == config.sft.num_examples:
      break
    trace = arithmetic_traces.write_trace(problem, habits, rng)
    examples.append(data.Example(problem, trace))
  return train, held_out, examples


def _file(config):
  t = config.task
  fields = (t.prompt_field, t.answer_field, t.response_field, t.answer_marker)
  everything = data.read_problems(t.train_path, *fields)
  if t.held_out_path:
    held_out = data.read_problems(t.held_out_path, *fields)
    held_out = held_out[: t.held_out_problems]
    examples, _ = data.remove_overlap(everything, held_out)
    # Curation finds and counts what is held out itself.
    drawn = everything if 'curate' in config.stages else examples
  else:
    # Curation alone needs none, and would take them from the prompt set.
    count = t.held_out_problems if tuple(config.stages) != ('curate',) else 0
    examples, held_out = data.split_held_out(everything, count, config.seed)
    drawn = examples
  train = [example.problem for example in drawn][: t.train_problems]
  worked = [e for e in examples if e.response is not None]
  return train, [e.problem for e in held_out], worked
