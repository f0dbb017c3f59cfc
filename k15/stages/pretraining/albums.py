"""Albums: several pictures in a row, and then what some of them show.

Kimi k1.5, section 2.5.1, activates long context with long data; which of them
has pictures is not published, NP.  Here a picture stands behind its number, and
the number is the question: what answers it lies as far back as its picture.
Held-out albums of one question are needles over pictures.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from k15 import streams
from k15.data import documents
from k15.data import token_store
from k15.data.documents import DataError
from k15.data.documents import Document
from k15.data_types import Example, Problem, TrainState
from k15.runtime import weights
from k15.runtime.context import Context
from k15.runtime.families import lessons as lessons_lib
from k15.runtime.task import Task
from k15.stages.pretraining import reading
from k15.training.sequences import Sequence as TokenSequence
from k15.vision import references
from k15.vision.shown_rows import Shown

DOMAIN = 'albums'
_ASKED = 4  # pictures of an album that is learnt, and half of them, at most
_MISSES = 4  # pictures without room, one after the other, that end an album
_FAILURES = 20  # draws that made none, one after the other, that are the end


def document_of(
  task: Task, example: Example, domain: str, is_long: bool = False
) -> Document:
  """A question and its answer, one text."""
  problem = example.problem
  text = problem.prompt + task.prompt_suffix + example.response
  return Document(text, domain, problem.id, is_long, problem.images)


def learnt(context: Context, shown: Shown) -> Iterator[Document]:
  """Long documents of the lessons of long context, as many of each length.

  There are a quarter as many as lessons, eight at least.

  Raises:
    DataError: see `_draw`.
  """
  task, lengths = context.task, context.config.long_context.lengths
  examples = task.lessons['long_context'].learnt
  number = -(-max(8, len(examples) // 4) // len(lengths))
  for shorter, length in zip((0, *lengths), lengths, strict=False):
    found = _draw(context, shown, examples, _ASKED, (shorter, length), 0)
    for album in itertools.islice(found, number):
      yield document_of(task, album, DOMAIN, is_long=True)


def make_measure(
  context: Context, shown: Shown | None, sizes: Sequence[tuple[int, int]]
) -> Callable[[TrainState], dict[str, float]] | None:
  """What is found in held-out albums of every length; None: there are none.

  Args:
    sizes: tokens of a row, and rows at once.

  Returns:
    State -> `text/picture_at_LENGTH`, the probability of the whole answer, in
    the mean.

  Raises:
    DataError: see `_draw`.
  """
  lessons = context.task.lessons.get('long_context')
  count = context.config.long_context.needles
  if not (shown and lessons and count):
    return None
  found, shorter = {}, 0
  for length, micro in sizes:
    drawn = _draw(context, shown, lessons.held_out, 1, (shorter, length), 1)
    asked = [_asked(context, each) for each in itertools.islice(drawn, count)]
    found[f'text/picture_at_{length}'] = reading.logprobs_of(
      context, asked, length, micro
    )
    shorter = length

  def measure(state):
    params = weights.whole(context.shape, state)
    return {k: float(np.exp(sums(params)).mean()) for k, sums in found.items()}

  return measure


def album_of(
  pictures: Sequence[tuple[float, Example]], asked: int, suffix: str
) -> Example:
  """Pictures with their numbers, and questions about some of them.

  Args:
    pictures: each with a number that decides its place among the questions.
    asked: questions at most, and about half of the pictures; the answer to the
      last one is the response.
    suffix: between a question and its answer.
  """
  examples = [example for _, example in pictures]
  order = sorted(range(len(pictures)), key=lambda i: pictures[i][0])
  count = max(1, min(asked, len(pictures) // 2))
  *others, last = [i + 1 for i in order[:count]]
  lines = [f'picture {i + 1} {references.MARK}' for i in range(len(examples))]
  lines += [f'picture {i}{suffix}{examples[i - 1].response}' for i in others]
  images = [image for each in examples for image in each.problem.images]
  problem = Problem(
    id='album:' + ':'.join(image.digest[:16] for image in images),
    prompt='\n'.join([*lines, f'picture {last}']),
    answer='',
    images=tuple(images),
  )
  return Example(problem, examples[last - 1].response)


def _draw(context, shown, examples, asked, lengths, side) -> Iterator[Example]:
  """Albums without end that fill a row as far as tokens and patches let them.

  Args:
    asked: see `album_of`.
    lengths: tokens of a row that is too short for them, and of their own.
    side: 1 of those that are held out.

  Raises:
    DataError: pictures do not fit.
  """
  task, (shorter, length) = context.task, lengths
  encode = documents.make_encode(task.tokenizer, context.layout.sight)
  rng = streams.rng(context.config.seed, 'albums', length, side)
  examples = [e for e in examples if lessons_lib.is_read(e)]

  def size_of(pictures):
    """Tokens; above all rows where there are too many patches."""
    album = album_of(pictures, asked, task.prompt_suffix)
    tokens = encode(document_of(task, album, DOMAIN))
    images = album.problem.images
    excess = token_store.excess_of(tokens, images, length, shown)
    return length + 1 if excess else len(tokens)

  failures = 0
  while failures < _FAILURES:
    pictures, size, misses = [], 0, 0
    while misses < _MISSES:
      drawn = examples[int(rng.integers(len(examples)))]
      more = [*pictures, (float(rng.random()), drawn)]
      grown = size_of(more)
      if grown > length or any(drawn is each for _, each in pictures):
        misses += 1
      else:
        pictures, size, misses = more, grown, 0
    if len(pictures) > 1 and size > shorter:
      failures = 0
      yield album_of(pictures, asked, task.prompt_suffix)
    else:
      failures += 1
  raise DataError(
    f'long_context: {len(pictures)} pictures of {size} tokens fill a row of'
    f' {length} with {shown.row_patches} patches, vision.row_patches; an album'
    f' has at least 2, and more than {shorter} tokens'
  )


def _asked(context, album):
  """An album as a sequence whose response is its last answer."""
  task, problem = context.task, album.problem
  encode = documents.make_encode(task.tokenizer, context.layout.sight)
  opening = Document(
    problem.prompt + task.prompt_suffix, DOMAIN, images=problem.images
  )
  response = np.append(
    task.tokenizer.encode(album.response), task.tokenizer.eos_id
  ).astype(np.int32)
  return TokenSequence(
    encode(opening)[:-1], response, np.ones(len(response), bool),
    images=problem.images,
  )  # fmt: skip
