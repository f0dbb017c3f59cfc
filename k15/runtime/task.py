"""The problems of a run: what to train on, what to hold out, what to imitate.

`build` turns `config.task` into a `Task`: from an endless family, of arithmetic
or of word problems, or from a user's own file.
"""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k15.config import stages as stages_lib
from k15.curation import near_duplicates
from k15.data import evaluation_sets
from k15.data import packing
from k15.data import problems as problems_lib
from k15.data_types import Example, ImageRef, Problem
from k15.rewards import thinking
from k15.runtime import shown_files
from k15.runtime.families import makers
from k15.vision import images as images_lib
from k15.vision import references
from k15.vision.sight import Sight

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
    template: instead of a chat, what a prompt is put into in the place of
      '{prompt}'; '' leaves it as it is.
    is_chat: whether prompts go through the tokenizer's chat template.
    sets: what the stage 'evaluate' asks; prompts whole, without the suffix.
    kept_out: problems that no stage may train on, the held-out ones and those
      of all files that evaluation reads.
    train: the RL prompt set D.
    held_out: problems no stage trains on.
    examples: warm-up solutions of training problems, perhaps none.
    parts: id of a held-out problem -> the part of them that it is counted in
      beside the whole; {} has none.
    lessons: stage -> what it reads, of those that have no files.
    sight: how the policy is shown pictures; None: it sees none.
  """

  tokenizer: Any
  prompt_suffix: str
  train: list[Problem]
  held_out: list[Problem]
  examples: list[Example]
  system_prompt: str = ''
  template: str = ''
  is_chat: bool = False
  sets: tuple[evaluation_sets.EvalSet, ...] = ()
  kept_out: near_duplicates.Known = near_duplicates.Known(())
  parts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  lessons: Mapping[str, makers.Lessons] = dataclasses.field(
    default_factory=dict
  )
  sight: Sight | None = None

  def encode_prompt(
    self, prompt: str, images: Sequence[ImageRef] = ()
  ) -> np.ndarray:
    """int32 [T]; in a chat, the user's turn is the prompt and its suffix."""
    return self.encode_turn(prompt + self.prompt_suffix, images)

  def encode_turn(
    self, text: str, images: Sequence[ImageRef] = ()
  ) -> np.ndarray:
    """int32 [T], of any text put to the policy; not to be written to.

    Where it sees, each picture has its tokens here, once and for all.

    Raises:
      images.BadImage: the pictures do not fit the text, see `Sight.encode`.
    """
    return self._put(text, tuple(images))[1]

  def prompt_text(self, prompt: str) -> str:
    """What `encode_prompt` encodes, special tokens by their names."""
    return self._put(prompt + self.prompt_suffix)[0]

  @functools.cached_property
  def _put(self) -> Callable[..., tuple[str, np.ndarray]]:
    """Of any text put to the policy: the whole of it, and its tokens."""

    def put(text, images=()):
      tokenizer = self.tokenizer
      if references.MARK not in text:
        text = references.MARK * len(images) + text
      if self.is_chat:
        text = tokenizer.render(self._chat(text))
        begin = go_on = tokenizer.encode_rendered
      else:
        # Not by `format`: prompts have braces of their own.
        text = (self.template or '{prompt}').replace('{prompt}', text)
        begin, go_on = tokenizer.begin, tokenizer.encode
      if self.sight:
        tokens = self.sight.encode(text, images, begin, go_on)
      else:
        tokens = np.array(begin(text), np.int32)
      # One array stands for all responses to its prompt: whoever wrote into it
      # would change the prompt of the others.
      tokens.flags.writeable = False
      return text, tokens

    return functools.lru_cache(_MAX_ENCODED)(put)

  @property
  def end_id(self) -> int:
    """The token by which the policy learns to end a response."""
    tokenizer = self.tokenizer
    return tokenizer.turn_end_id if self.is_chat else tokenizer.eos_id

  def messages(self, prompt: str) -> list[dict[str, str]]:
    """The chat that asks a prompt."""
    return self._chat(prompt + self.prompt_suffix)

  def held_out_set(self) -> evaluation_sets.EvalSet:
    """The held-out problems as a set to evaluate on."""
    problems = (
      dataclasses.replace(p, prompt=p.prompt + self.prompt_suffix)
      for p in self.held_out
    )
    return evaluation_sets.EvalSet('held_out', '', tuple(problems))

  def opening(self, prompt: str) -> str:
    """What a response begins with that its prompt has written: '<think>'."""
    return self.opening_of_turn(prompt + self.prompt_suffix)

  def opening_of_turn(self, text: str) -> str:
    """The same of any text put to the policy, as `encode_turn` puts it."""
    return thinking.opening_of(self._put(text)[0])

  def draw_pairs(
    self, count: int, max_prompt: int, max_length: int, rng: np.random.Generator
  ) -> list[packing.TokenPair]:
    """Prompts and responses of examples that are drawn, less what is too long.

    Args:
      count: of examples, drawn with replacement.
      max_prompt, max_length: tokens of a prompt, of a response and its end.
    """
    drawn = rng.integers(len(self.examples), size=count)
    chosen = dataclasses.replace(
      self, examples=[self.examples[i] for i in drawn]
    )
    pairs, _ = sft_pairs(chosen, max_length)
    return [pair for pair in pairs if len(pair.prompt) <= max_prompt]

  def _chat(self, text):
    messages = [dict(role='user', content=text)]
    if self.system_prompt:
      messages.insert(0, dict(role='system', content=self.system_prompt))
    return messages


def build(
  config: Any,
  tokenizer: Any,
  keep: references.Keep = references.forget,
  sight: Sight | None = None,
) -> Task:
  """Makes the task of a config; the same for the same config and seed.

  Args:
    keep: gets the pixels of all pictures, of those that are evaluated too.
    sight: how the policy is shown pictures; None: it sees none.

  Raises:
    ValueError: a malformed file, with the line's number; a prompt longer than
      `rollout.max_prompt_length`; too few problems for an iteration, or no
      worked solution for SFT.
    FileNotFoundError: no such file.
  """
  make = _MAKERS[config.task.name]
  # No file of problems is needed, or read, that nothing asks.
  if set(config.stages) == {'evaluate'} and config.evaluation.sets:
    make = _nothing
  train, held_out, examples = make(config, keep)
  lessons = makers.lessons_of(config, keep)
  task = Task(
    tokenizer=tokenizer,
    prompt_suffix=config.task.prompt_suffix,
    train=train,
    held_out=held_out,
    examples=examples,
    system_prompt=config.task.system_prompt,
    template=config.task.template,
    is_chat=tokenizer.has_chat_template
    and config.task.use_chat_template
    and not config.task.template,
    sight=sight,
    lessons=lessons,
  )
  if make is not _nothing:
    task = _without_kept_out(config, task)
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
  parts = makers.parts_of(config.task.name, task.held_out)
  task = dataclasses.replace(task, parts=parts)
  if 'evaluate' in config.stages:
    task = dataclasses.replace(task, sets=_sets(config, task, keep))
  if sight is None:
    _refuse_pictures(task)
  else:
    shown_files.hand_over(config, keep)
  return task


def _without_kept_out(config, task):
  """The task without what is evaluated; what is left out is counted.

  Of a user's held-out file all is kept out: problems beyond those asked now
  may be asked another time.
  """
  files = dict(held_out=task.held_out) | evaluation_sets.kept_out(config)
  names = {id(p): name for name, found in files.items() for p in found}
  kept_out = near_duplicates.Known(
    [p for found in files.values() for p in found]
  )

  def without(label, entries, problem_of):
    problems = map(problem_of, entries)
    found = [kept_out.find(p.prompt, p.digests) for p in problems]
    counts = collections.Counter(names[id(f.other)] for f in found if f)
    if counts:
      print(
        f'task: {sum(counts.values())} of {len(entries)} {label} are left out,'
        f' because they ask what is evaluated: {dict(counts)}',
        flush=True,
      )
    return [e for e, f in zip(entries, found, strict=True) if not f]

  train = task.train
  if 'curate' not in config.stages:  # Curation finds and counts them itself.
    train = without('training problems', train, lambda problem: problem)
  examples = without('worked solutions', task.examples, lambda e: e.problem)
  lessons = {
    stage: dataclasses.replace(
      found,
      learnt=without(
        f'examples of {stage}', found.learnt, lambda e: e.problem
      ),
    )
    for stage, found in task.lessons.items()
  }
  t = config.task
  return dataclasses.replace(
    task,
    train=train[: t.train_problems],
    held_out=task.held_out[: t.held_out_problems],
    examples=examples,
    lessons=lessons,
    kept_out=kept_out,
  )


def _refuse_pictures(task):
  """It sees none: text alone would be asked, and nobody would know."""
  problems = [*task.train, *task.held_out, *(e.problem for e in task.examples)]
  problems += [problem for found in task.sets for problem in found.problems]
  for problem in problems:
    if problem.images:
      raise ValueError(
        f'{problem.id!r} has {len(problem.images)} pictures, and the policy'
        ' sees none'
      )


def _sets(config, task, keep):
  """What the stage 'evaluate' asks; the held-out problems, if nothing else."""
  sets = evaluation_sets.read(config, task.is_chat, keep)
  if not config.evaluation.sets:
    sets = [task.held_out_set()]
  encode = dataclasses.replace(task, prompt_suffix='').encode_prompt
  evaluation_sets.check_lengths(config, encode, sets)
  return tuple(sets)


def _refusal(config, task, problem):
  """Why a problem cannot be used, or None."""
  if not problem.answer:
    return f'{problem.id!r} has no answer'
  most = config.rollout.max_prompt_length
  try:
    length = len(task.encode_prompt(problem.prompt, problem.images))
  except images_lib.BadImage as error:
    return f'{problem.id!r}: {error}'
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
        f' {config.rollout.max_prompt_length} tokens'
        f'{", or pictures that do not fit it" if task.sight else ""}',
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
  rows = {stage: stages_lib.STAGES[stage] for stage in config.stages}
  is_evaluated = any(row.makes_model for row in rows.values()) or (
    'evaluate' in rows and not config.evaluation.sets
  )
  if is_evaluated and not task.held_out:
    raise ValueError(
      'there are 0 held-out problems, and nothing to evaluate on'
    )
  if config.loss.ptx_weight and not task.examples:
    raise ValueError(
      f'loss.ptx_weight is {config.loss.ptx_weight}, and there are 0 worked'
      ' solutions'
    )
  # The end-of-sequence token needs a place too.
  most = config.rollout.max_length - 1
  lengths = (len(task.tokenizer.encode(e.response)) for e in task.examples)
  stages = [
    stage
    for stage, row in rows.items()
    if row.kind == 'sft' and not config[stage].files
    and stage not in stages_lib.READING
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
  if stages & set(stages_lib.with_curves('rl')):
    return drawn, f'rl.problems_per_iteration = {drawn}'
  asking = sorted(stages & {'long_cot', 'rejection_sft', 'shortest', 'dpo'})
  return len(asking[:1]), f'the 1 that stage {"".join(asking[:1])} asks'


def sft_pairs(
  task: Task, max_length: int, row_tokens: int | None = None
) -> tuple[list[packing.TokenPair], int]:
  """Token pairs (prompt, response) of the examples that fit, and the misses.

  Args:
    task: with the examples.
    max_length: tokens of a response, with the one that ends it.
    row_tokens: of prompt and response together; None: no bound.
  """
  eos = np.array([task.end_id], np.int32)

  def pair(problem, response):
    prompt = problem.prompt
    response = thinking.continued(task.prompt_text(prompt), response)
    # Prompt and response become tokens apart, as when sampling: a token across
    # the border could never be sampled there.
    response = np.concatenate([task.tokenizer.encode(response), eos])
    prompt = task.encode_prompt(prompt, problem.images)
    return packing.TokenPair(prompt, response, problem.images)

  pairs = [pair(e.problem, e.response) for e in task.examples]
  kept = [
    pair
    for pair in pairs
    if len(pair.response) <= max_length
    and (
      row_tokens is None or len(pair.prompt) + len(pair.response) <= row_tokens
    )
  ]
  return kept, len(pairs) - len(kept)


def _nothing(config, keep):
  """Of a run that only evaluates, on sets of its own."""
  del config, keep
  return [], [], []


def _file(config, keep):
  """All problems of the files, in the order in which they are taken."""
  everything = _read(config, 'train_path', keep)
  if config.task.held_out_path:
    examples = everything
    held_out = _read(config, 'held_out_path', keep)
  else:
    # Curation alone needs none, and would take them from the prompt set.
    is_alone = tuple(config.stages) == ('curate',)
    count = 0 if is_alone else config.task.held_out_problems
    examples, held_out = problems_lib.split_held_out(
      everything, count, config.seed
    )
  worked = [e for e in examples if e.response is not None]
  return _ordered(config, examples), _ordered(config, held_out), worked


def _read(config, key, keep):
  """The examples of a user's file."""
  may_lack = config.task.drop_unusable or 'curate' in config.stages
  path = config.task[key]
  fields = problems_lib.Fields.of(config.task)
  examples = problems_lib.read_file(path, fields, may_lack, keep)
  if not any(example.problem.answer for example in examples):
    raise ValueError(
      f'{path}: no problem has an answer in task.answer_field,'
      f' {fields.answer!r}'
    )
  return examples


def _ordered(config, examples):
  """The problems of a file by a hash of seed and prompt, or as they come."""
  problems = [example.problem for example in examples]
  if not config.task.shuffle:
    return problems

  def draw(problem):
    # By its own hash each problem keeps its place among the others when rows
    # are added to the file or taken out of it.
    parts = str(config.seed), problem.prompt, *problem.digests
    text = '\n'.join(parts)
    return hashlib.sha256(text.encode()).digest()

  return sorted(problems, key=draw)


_MAKERS = makers.MAKERS | {'file': _file}
