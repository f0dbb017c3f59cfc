"""Texts that are the same problem: exactly, nearly, or with other numbers.

Kimi k1.5, section 2.1, wants prompts that are diverse and not those of the
benchmarks; how copies are found is not published and this project's choice:

  exact      equal after `normal_form`
  extension  so, with other words before or after it
  duplicate  alike, with the same numbers and the same answer
  variant    alike, whatever the numbers and the answer: a template filled anew

Of problems with pictures, only those of the same pictures are compared: "how
many circles are there?" is another problem for each.

"Alike" is the Jaccard similarity of the sets of word pairs.  MinHash LSH
(datasketch) proposes candidates and the exact similarity decides, so the only
error of the hashing is to miss a pair: at similarity s, one of 42 bands of 3
hashes agrees with probability 1 - (1 - s^3)^42, which is 0.9995 at 0.55.
"""

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from k15.data_types import Problem
from k15.vision import references

BANDS, ROWS = 42, 3  # of the LSH
# Letters of a normal form: from the first on it is looked for within a text,
# from the second on as a sentence or a line of it, below that as the whole.
_ANCHOR, _SENTENCE = 32, 12
_ENDS = re.compile(r'\n+|(?<=[.?!:])\s+')  # of lines and sentences
_PERMUTATIONS = BANDS * ROWS
_FIGURE = re.compile(r'\[asy\].*?\[/asy\]', re.DOTALL)
_LABEL = re.compile(r'label\("([^"]*)"')
_FRACTION = re.compile(r'\\[dtc]?frac *(\d) *(\d)')
_FRACTIONS = re.compile(r'\\[dtc]frac')
# Spacing, size and typeface, which say nothing.
_LAYOUT = re.compile(
  r'\\(?:left|right|displaystyle|textstyle|quad|qquad|big|Big)(?![a-zA-Z])'
  r'|\\(?:text|mathrm|mathbf|textbf|mbox|mathit|textit|boldsymbol)\b'
  r'|\^ *\{? *\\circ *\}?|\\[!,;:> ()\[\]]|[$~]'
)
_THOUSANDS = re.compile(r'(?<=\d)\{?,\}?(?=\d{3}(?!\d))')
_TOKEN = re.compile(r'\d+(?:\.\d+)?|[a-z]+|[^\W\d_a-z]|[-+*/=<>^_()\[\]|!]')


@dataclasses.dataclass(frozen=True)
class Match:
  """What a problem repeats.

  Attributes:
    other: the problem it repeats.
    kind: 'exact', 'extension', 'duplicate' or 'variant'.
    similarity: Jaccard similarity of word pairs, [0, 1].
  """

  other: Problem
  kind: str
  similarity: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Item:
  problem: Problem
  hashes: Any
  shingles: frozenset[str]
  numbers: tuple[str, ...]
  answer: tuple[str, ...]


def normal_form(text: str) -> str:
  """The text without case, white space, typeface and dollar signs.

  Two prompts of one normal form are the same prompt.
  """
  text = unicodedata.normalize('NFKC', text)
  text = _FRACTION.sub(r'\\frac{\1}{\2}', text)
  text = _LAYOUT.sub('', _FRACTIONS.sub(r'\\frac', text))
  return ''.join(text.casefold().split()).rstrip('.?!')


def tokens(text: str) -> list[str]:
  """Words, numbers and operators, in order; of a figure, its labels.

  A letter of a script without spaces, as in Chinese, is a word.
  """
  text = _FIGURE.sub(lambda found: ' '.join(_LABEL.findall(found[0])), text)
  text = unicodedata.normalize('NFKC', text)
  text = _FRACTION.sub(r'\\frac{\1}{\2}', text)
  text = _LAYOUT.sub('', _FRACTIONS.sub(r'\\frac', text))
  return _TOKEN.findall(_THOUSANDS.sub('', text).casefold())


def shingles(words: Sequence[str]) -> frozenset[str]:
  """The set of neighbouring pairs; of a single word, the word."""
  if len(words) == 1:
    return frozenset(words)
  return frozenset(f'{a} {b}' for a, b in zip(words, words[1:], strict=False))


def similarity(a: frozenset[str], b: frozenset[str]) -> float:
  """Jaccard similarity |a & b| / |a | b|; of two empty sets, 0."""
  return len(a & b) / max(1, len(a | b))


class Known:
  """Problems that a text, with the same pictures or none, may repeat.

  It does so if it has the same normal form, or holds that of a problem word for
  word: with an instruction before or after it, say.  A problem of less than 32
  letters has to be a line or a sentence of the text, and one of less than 12
  all of it.  Where digits go on before or after it, it is another problem.
  """

  def __init__(self, problems: Sequence[Problem]):
    self.problems = tuple(problems)
    by_pictures = collections.defaultdict(list)
    for problem in problems:
      by_pictures[problem.digests].append(problem)
    self._texts = {k: _Texts(found, k) for k, found in by_pictures.items()}

  def find(self, text: str, digests: tuple[str, ...] = ()) -> Match | None:
    """The problem that a text is or holds; a look-up for each letter.

    Args:
      digests: of the pictures beside the text, in their order.
    """
    texts = self._texts.get(digests)
    return texts.find(_unmarked(text, digests)) if texts else None


class _Texts:
  """The problems of the same pictures."""

  def __init__(self, problems, digests):
    self._whole: dict[str, Problem] = {}
    self._anchored: dict[str, list[str]] = {}
    for problem in problems:
      form = normal_form(_unmarked(problem.prompt, digests))
      if not form or form in self._whole:
        continue
      self._whole[form] = problem
      if len(form) >= _ANCHOR:
        self._anchored.setdefault(form[:_ANCHOR], []).append(form)

  def find(self, text):
    if not self._whole:
      return None
    form = normal_form(text)
    if form in self._whole:
      return Match(self._whole[form], 'exact', 1.0)
    held = self._sentence_of(text) or self._held_by(form)
    return Match(self._whole[held], 'extension', 1.0) if held else None

  def _sentence_of(self, text):
    parts = [part for part in _ENDS.split(text) if len(part) < 4 * _ANCHOR]
    forms = (normal_form(part) for part in parts)
    long_enough = (form for form in forms if len(form) >= _SENTENCE)
    return next((form for form in long_enough if form in self._whole), None)

  def _held_by(self, form):
    for start in range(len(form) - _ANCHOR + 1):
      for known in self._anchored.get(form[start : start + _ANCHOR], ()):
        if form.startswith(known, start) and _is_apart(form, start, known):
          return known
    return None


def _unmarked(text, digests):
  """The text; beside pictures, wherever its marks say that they stand."""
  return text.replace(references.MARK, '') if digests else text


def _is_apart(form, start, known):
  """Whether no digit goes on on either side."""
  end = start + len(known)
  before = form[start - 1 : start].isdigit() and known[0].isdigit()
  after = form[end : end + 1].isdigit() and known[-1].isdigit()
  return not before and not after


def find(
  problems: Sequence[Problem],
  against: Sequence[Problem],
  duplicate_similarity: float,
  variant_similarity: float,
) -> dict[int, Match]:
  """Which problems repeat one of `against`.

  Args:
    against: what they may repeat.
    duplicate_similarity: from here on, problems with the same numbers and the
      same answer are duplicates; an empty answer is that of any problem.
    variant_similarity: from here on, problems are variants; 0 finds none.

  Returns:
    Index of a problem -> what it repeats: the most similar one, the first of
    equals.
  """
  index, known, matches = _Index(), Known(against), {}
  for item in _items(against):
    index.add(item)
  for i, item in enumerate(_items(problems)):
    match = known.find(item.problem.prompt, item.problem.digests)
    if not match or match.kind != 'exact':
      best = index.best(item, duplicate_similarity, variant_similarity)
      match = best or match
    if match:
      matches[i] = match
  return matches


def find_within(
  problems: Sequence[Problem], duplicate_similarity: float
) -> dict[int, Match]:
  """Which problems are near duplicates of an earlier one that stays.

  Returns:
    As `find`; nobody repeats a problem that is itself a repetition.
  """
  index, matches = _Index(), {}
  for i, item in enumerate(_items(problems)):
    match = index.best(item, duplicate_similarity, 0.0)
    if match:
      matches[i] = match
    else:
      index.add(item)
  return matches


class _Index:
  """Items by their hashes."""

  def __init__(self):
    self._items: list[_Item] = []
    self._hashes = _datasketch().MinHashLSH(
      num_perm=_PERMUTATIONS, params=(BANDS, ROWS)
    )
    # Few are asked about the same pictures: these are compared without hashes,
    # of which thousands of the same question would all be candidates.
    self._of_pictures = collections.defaultdict(list)

  def add(self, item):
    digests = item.problem.digests
    if item.shingles and digests:
      self._of_pictures[digests].append(item)
    elif item.shingles:
      self._hashes.insert(len(self._items), item.hashes)
      self._items.append(item)

  def _candidates(self, item):
    if item.problem.images:
      return self._of_pictures[item.problem.digests]
    return [self._items[i] for i in sorted(self._hashes.query(item.hashes))]

  def best(self, item, duplicate_similarity, variant_similarity):
    """The most similar match, or None."""
    if not item.shingles:
      return None
    best = None
    for other in self._candidates(item):
      score = similarity(item.shingles, other.shingles)
      kind = None
      if score >= duplicate_similarity and _is_same(item, other):
        kind = 'duplicate'
      elif variant_similarity and score >= variant_similarity:
        kind = 'variant'
      if kind and (best is None or score > best.similarity):
        best = Match(other.problem, kind, score)
    return best


def _is_same(a, b):
  agree = not a.answer or not b.answer or a.answer == b.answer
  return agree and a.numbers == b.numbers


def _items(problems):
  words = [tokens(problem.prompt) for problem in problems]
  pairs = [shingles(each) for each in words]
  hashes = _datasketch().MinHash.bulk(
    [[pair.encode() for pair in sorted(each)] for each in pairs],
    num_perm=_PERMUTATIONS,
  )
  return [
    _Item(
      problem,
      hashes[i],
      pairs[i],
      tuple(sorted(word for word in words[i] if word[0].isdigit())),
      tuple(tokens(problem.answer)),
    )
    for i, problem in enumerate(problems)
  ]


def _datasketch():
  # Imported here: it takes a second, and most runs curate nothing.
  import datasketch

  return datasketch
