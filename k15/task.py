"""The problems of a run: what to train on, what to hold out, what to imitate.

`build` turns `config.task` into a `Task`: from the endless arithmetic family,
or from a user's own file.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from k15 import arithmetic
from k15 import arithmetic_traces
from k15 import data
from k15 import eval_sets
from k15 import streams
from k15.data_types import Problem

# The k responses to a prompt ask for its tokens k times in an iteration, and
# once more to learn from: encoded texts that are kept.
_MAX_ENCODED = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
  """Problems and examples, and how text becomes tokens.

  Attributes:
    tokenizer: of prompts and responses.
    prompt_suffix: text between a prompt and its response.
    system_prompt: that of a chat, if any.
    is_chat: whether prompts go through the tokenizer's chat template.
    sets: what the stage 'evaluate' asks; prompts whole, without the suffix.
    train: the RL prompt set D.
    held_out: problems no stage trains on.
    examples: warm-up solutions of training problems, perhaps none.
  """

  tokenizer: Any
  prompt_suffix: str
  train: list[Problem]
  held_out: list[Problem]
  examples: list[data.Example]
  system_prompt: str = ''
  is_chat: bool = False
  sets: tuple[eval_sets.EvalSet, ...] = ()

  def encode_prompt(self, prompt: str) -> np.ndarray:
    """int32 [T]; in a chat, the user's turn is the prompt and its suffix."""
    return self.encode_turn(prompt + self.prompt_suffix)

  def encode_turn(self, text: str) -> np.ndarray:
    """int32 [T], of any text put to the policy; not to be written to."""
    return self._encode(text)

  @functools.cached_property
  def _encode(self) -> Callable[[str], np.ndarray]:
    def encode(text):
      if self.is_chat:
        tokens = self.tokenizer.encode_chat(self._chat(text))
      else:
        tokens = self.tokenizer.encode(text)
      tokens = np.array(tokens, np.int32)
      tokens.flags.writeable = False
      return tokens

    return functools.lru_cache(_MAX_ENCODED)(encode)

  def messages(self, prompt: str) -> list[dict[str, str]]:
    """The chat that asks a prompt."""
    return self._chat(prompt + self.prompt_suffix)

  def _chat(self, text):
    messages = [dict(role='user', content=text)]
    if self.system_prompt:
      messages.insert(0, dict(role='system', content=self.system_prompt))
    return messages


def build(config: Any, tokenizer: Any) -> Task:
  """Makes the task of a config; the same for the same config and seed.

  Args:
    config: the whole config.
    tokenizer: of the policy.

  Raises:
    ValueError: a malformed file, with the line's number; a prompt longer than
      `rollout.max_prompt_length`; too few problems for an iteration, or no
      worked solution for SFT.
    FileNotFoundError: no such file.
  """
  make = _arithmetic if config.task.name == 'arithmetic' else _file
  if set(config.stages) == {'evaluate'} and config.evaluation.sets:
    make = _nothing
  train, held_out, examples = make(config)
  task = Task(
    tokenizer=tokenizer,
    prompt_suffix=config.task.prompt_suffix,
    train=train,
    held_out=held_out,
    examples=examples,
    system_prompt=config.task.system_prompt,
    is_chat=tokenizer.has_chat_template and config.task.use_chat_template,
  )
  # Curation says itself what of the training problems cannot be used.
  parts = ('held_out',) if 'curate' in config.stages else ('train', 'held_out')
  if config.task.drop_unusable:
    task = _usable(config, task, parts)
  else:
    for problem in [p for part in parts for p in getattr(task, part)]:
      refusal = _refusal(config, task, problem)
      if refusal:
        raise ValueError(refusal)
  _check_enough(config, task)
  if 'evaluate' in config.stages:
    task = dataclasses.replace(task, sets=_sets(config, task))
  return task


def _sets(config, task):
  """What the stage 'evaluate' asks; the held-out problems, if nothing else."""
  sets = eval_sets.read(config, task.is_chat)
  if not config.evaluation.sets:
    held_out = tuple(
      dataclasses.replace(p, prompt=p.prompt + task.prompt_suffix)
      for p in task.held_out
    )
    sets = [eval_sets.EvalSet('held_out', '', held_out)]
  encode = dataclasses.replace(task, prompt_suffix='').encode_prompt
  eval_sets.check_lengths(config, encode, sets)
  return tuple(sets)


def _refusal(config, task, problem):
  """Why a problem cannot be used, or None."""
  if not problem.answer:
    return f'{problem.id!r} has no answer'
  length, most = (
    len(task.encode_prompt(problem.prompt)),
    config.rollout.max_prompt_length,
  )
  if length > most:
    return (
      f'the prompt of {problem.id!r} has {length} tokens, more than'
      f' rollout.max_prompt_length = {most}'
    )
  return None


def _usable(config, task, parts):
  """The task without the problems that would be refused, which are counted."""
  kept = {}
  for part in parts:
    problems = getattr(task, part)
    kept[part] = [p for p in problems if not _refusal(config, task, p)]
    dropped = len(problems) - len(kept[part])
    if dropped:
      print(
        f'task.{part}: {dropped} of {len(problems)} problems are left out:'
        ' no answer, or a prompt longer than rollout.max_prompt_length ='
        f' {config.rollout.max_prompt_length} tokens',
        flush=True,
      )
  return dataclasses.replace(task, **kept)


def _check_enough(config, task):
  """Refuses what a stage would trip over later."""
  least, name = least_problems(config)
  if len(task.train) < least:
    raise ValueError(
      f'there are {len(task.train)} training problems, fewer than {name}'
    )
  stages = set(config.stages)
  is_evaluated = stages - {'curate', 'evaluate'} or (
    'evaluate' in stages and not config.evaluation.sets
  )
  if is_evaluated and not task.held_out:
    raise ValueError(
      'there are 0 held-out problems, and nothing to evaluate on'
    )
  # The end-of-sequence token needs a place too.
  most = config.rollout.max_length - 1
  lengths = (len(task.tokenizer.encode(e.response)) for e in task.examples)
  stages = [
    stage
    for stage in ('sft', 'sft_long')
    if stage in config.stages and not config[stage].files
  ]
  if stages and not any(n <= most for n in lengths):
    raise ValueError(
      f'stage {stages[0]!r} has nothing to learn from:'
      f' {len(task.examples)} worked solutions, none of at most'
      f' rollout.max_length - 1 = {most} tokens'
    )


def least_problems(config: Any) -> tuple[int, str]:
  """How many training problems the stages need, and what says so."""
  stages, drawn = set(config.stages), config.rl.problems_per_iteration
  if stages & {'rl', 'short_rl'}:
    return drawn, f'rl.problems_per_iteration = {drawn}'
  asking = sorted(stages & {'long_cot', 'shortest', 'dpo'})
  return len(asking[:1]), f'the 1 that stage {"".join(asking[:1])} asks'


def sft_pairs(
  task: Task, max_length: int, row_tokens: int | None = None
) -> tuple[list, int]:
  """Token pairs (prompt, response) of the examples that fit, and the misses.

  Args:
    task: with the examples.
    max_length: tokens of a response, with the one that ends it.
    row_tokens: of prompt and response together; None: no bound.
  """
  eos = np.array([task.tokenizer.eos_id], np.int32)
  pairs = [
    (
      task.encode_prompt(example.problem.prompt),
      np.concatenate([task.tokenizer.encode(example.response), eos]),
    )
    for example in task.examples
  ]
  kept = [
    (prompt, response)
    for prompt, response in pairs
    if len(response) <= max_length
    and (row_tokens is None or len(prompt) + len(response) <= row_tokens)
  ]
  return kept, len(pairs) - len(kept)


def _nothing(config):
  """Of a run that only evaluates, on sets of its own."""
  del config
  return [], [], []


def _arithmetic(config):
  t = config.task
  draw = (t.kinds, t.min_difficulty, t.max_difficulty)
  train = arithmetic.make_problems(t.train_problems, *draw, False, config.seed)
  held_out = arithmetic.make_problems(
    t.held_out_problems, *draw, True, config.seed
  )
  habits = arithmetic_traces.Habits(
    t.give_up_rate, t.guess_rate, t.slip_rate, t.check_rate
  )
  rng = streams.rng(config.seed, 'warm-up solutions')
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
  fields = (
    t.prompt_field,
    t.answer_field,
    t.response_field,
    t.answer_marker,
    t.domain_field,
    t.difficulty_field,
    t.hardest,
    t.drop_unusable or 'curate' in config.stages,
    t.discipline_field,
  )
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
