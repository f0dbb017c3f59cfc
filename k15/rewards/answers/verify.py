"""Reward of a mathematical answer: verify(response, reference) -> Verdict.

A cascade, cheapest rung first:

  1. the final answer is the reference, letter by letter;
  2. both are the same text, or the same number, expression, tuple, set,
     interval, matrix or equation (reading.py, equality.py), which is never
     wrong about what it understands;
  3. what that does not read goes to math-verify, in a worker process with a
     time limit (fallback.py).

Nothing of a response is ever executed.  'wrong' is an answer that is read and
differs, and a response that gives none: no box, tag or statement, a box or a
thinking that is never closed.  'error' is an answer that nobody could judge:

  unparsable   markup that no rung reads, or too long, or numbers too large to
               compare; 'unparsable: reference' blames the reference
  timeout      its time was over
  crash        a worker died otherwise; memory: for want of it

Finding the final answer takes time linear in the length of the text.
"""

import re
import time

from k15.rewards import thinking
from k15.rewards.answers import equality
from k15.rewards.answers import fallback
from k15.rewards.answers import parts
from k15.rewards.answers import reading
from k15.rewards.answers import units
from k15.rewards.answers import values
from k15.rewards.verdict import Verdict

MAX_BOXES = 16  # stated side by side, as in '\\boxed{2} and \\boxed{3}'
MAX_REFERENCE = 300  # characters; a longer one is a solution
TAIL = 4000  # characters searched for an answer without box or tag

_BRACE = re.compile(r'\\.|[{}]', re.DOTALL)
# Between boxes that are one list: '\\boxed{1} paper and \\boxed{2} bins'.
_BETWEEN = re.compile(
  r'(?:[\s$.,;&]|\\q?quad|\\[,;: ()\[\]]|\\text ?\{ *(?:and|or) *\}'
  r'|\b(?:and|or)\b)*'
  r'|[\s$,]*(?:(?!so\b|thus\b|hence\b|then\b|not\b)[a-z]+\s){0,3}(?:and|or)\s'
  r'(?:(?!so\b|thus\b|hence\b|then\b|therefore\b)[a-z]+\s){0,2}[\s$]*'
)
_TURN_END = re.compile(
  r'<\|(?:endoftext|im_end|im_start|eot_id|end_of_text|end)\|>|</s>'
)
_BARE_BOX = re.compile(r'\s*([^\s${}]+)')
_STATED = re.compile(
  r'(?:\b(?i:answer|option|choice)s?(?:[^.:=\n$]{0,80}?\b(?:is|are)\b'
  r'|\s*\**\s*[:=])|答案(?:是|为|[:：]))\s*[:：]?\s*(\S.*)'
)
# A choice stated behind a box with a formula, to end a response.
_CHOSEN = re.compile(
  r'\n[ *_#]*(?:the )?(?:final |correct )?(?:answer|option|choice)(?: is)?'
  r'[\s*_:]*(?:is )?[\s*_$]*\(?([A-J])\)?[\s*_.$]*\Z',
  re.IGNORECASE,
)
_HOPED = re.compile(
  r'final answer is:? ([^\n]{1,200}?)\. I hope it is correct', re.IGNORECASE
)
_EMPHASIS = re.compile(
  r'(?<![\w*`\\])(\*\*|__|`)(?=\S)([^\n*`]{1,200}?)(?<=\S)\1(?![\w*`])'
)
_TAG = re.compile(r'</?(?:b|i|em|strong|code)>')
_HOPE = re.compile(r'\.\s*I hope.*')
_SENTENCE_END = re.compile(r'[.!?](?:\s|$)')
_SEGMENT = re.compile(
  r'\$\$?([^$]+)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]', re.DOTALL
)
_NUMBER = re.compile(
  r'(?:(?<![\w)])[-−])?(?<![a-zA-Z\d.])\d[\d,]*(?:\.\d+)?(?:/\d+)?%?'
)
# Not of 'x=1orx=2', which is two answers.
_LONG_WORD = re.compile(
  r'(?<![\\a-zA-Z])(?!(?:or|and)[a-zA-Z](?![a-zA-Z]))(?:[a-zA-Z]{3,}'
  r'|(?i:so|it|is|we)(?![a-zA-Z]))'
)
_ENVIRONMENT = re.compile(r'\\(?:begin|end) ?\{[a-z]+\}')


def final_answer(response: str) -> str | None:
  """The answer a response ends on, or None.

  After the thinking, it is the last box or answer tag; where there is
  neither, what follows '####' or 'answer is', a short response itself, the
  last formula or the last number.  Boxes side by side are one list, so that
  naming several candidates is an answer of several values.  A thinking or a
  box that is never closed leaves no answer.
  """
  region = thinking.said(response)
  if region is None:
    return None
  ended = (
    _TURN_END.search(region) if '<|' in region or '</s' in region else None
  )
  if ended:
    region = region[: ended.start()]
  start = region.rfind('<answer>')
  if start >= 0:
    inside, _, after = region[start + 8 :].partition('</answer>')
    region = after if _box_start(after) >= 0 else inside
  box = _box_start(region)
  if box < 0:
    return _unboxed(region.strip())
  behind = max(box, len(region) - TAIL)
  chosen = _CHOSEN.search(region, behind) or _HOPED.search(region, behind)
  return chosen[1] if chosen else boxed(region)


def reference_answer(reference: str) -> str:
  """A reference without its box or '####'; of a whole solution, its end."""
  if _box_start(reference) >= 0:
    return boxed(reference) or re.split(r'box(?:ed)? ?\{', reference)[-1]
  if len(reference) > MAX_REFERENCE:
    return final_answer(reference) or ''
  return reference.rpartition('####')[2].strip()


def is_missing(reference: str) -> bool:
  """Whether a reference is what a missing number is written as."""
  return reference.strip().casefold().lstrip('+-') in ('nan', 'inf')


def _box_start(text, end=None):
  return max(text.rfind('\\boxed', 0, end), text.rfind('\\fbox', 0, end))


def boxed(text: str) -> str | None:
  """Content of the last box, with those right before it; None if unclosed."""
  contents, end, following = [], None, None
  for _ in range(MAX_BOXES):
    start = _box_start(text, end)
    if start < 0:
      break
    content, close = _box_content(text, start)
    if following is not None and (
      content is None or not _BETWEEN.fullmatch(text[close:following])
    ):
      break
    if content is None:
      return None
    if content and content not in contents:
      contents.append(content)
    end = start
    following = start if contents else None
  return ', '.join(reversed(contents)) or None


def _box_content(text, start):
  """(content, position after it) of the box at start; (None, 0) if open."""
  opening = start + (6 if text.startswith('\\boxed', start) else 5)
  while opening < len(text) and text[opening] in ' \n\t':
    opening += 1
  if not text.startswith('{', opening):
    bare = _BARE_BOX.match(text, opening)
    return (bare[1].rstrip('.,;'), bare.end()) if bare else ('', opening)
  depth = 0
  for match in _BRACE.finditer(text, opening):
    depth += {'{': 1, '}': -1}.get(match[0], 0)
    if depth == 0:
      return text[opening + 1 : match.start()].strip(), match.end()
  return None, 0


def _unboxed(text):
  """The answer of a response without box and tag."""
  _, found, rest = text.rpartition('####')
  if found:
    return rest.strip().partition('\n')[0].strip() or None
  tail = _EMPHASIS.sub(r'\2', _TAG.sub('', text[-TAIL:]))
  stated = next(iter([*_STATED.finditer(tail)][-1:]), None)
  if stated and stated[1].startswith('not '):
    return None
  if stated:
    answer = _HOPE.sub('', stated[1])
    end = _SENTENCE_END.search(answer)
    tail = answer[: end.start()].strip(' *') if end else answer.strip(' *')
  return _within_words(tail)


def _within_words(text):
  """A short answer itself; of prose, the last formula or number."""
  plain = _ENVIRONMENT.sub('', text)
  words = [word for word in _LONG_WORD.findall(plain) if word != 'and']
  segments, numbers = [*_SEGMENT.finditer(text)], [*_NUMBER.finditer(text)]
  if not words or (len(words) <= 2 and not segments and not numbers):
    return text or None
  if numbers and numbers[0].start() == 0 and len(words) <= 2:
    return text
  last_number = numbers[-1].end() if numbers else 0
  if segments and segments[-1].end() > last_number:
    return _joined_segments(text, segments)
  return numbers[-1][0] if numbers else None


def _joined_segments(text, segments):
  """The last formula, with those right before it."""
  contents, following = [], None
  for match in reversed(segments[-MAX_BOXES:]):
    if following is not None and not _BETWEEN.fullmatch(
      text[match.end() : following]
    ):
      break
    contents.append(next(part for part in match.groups() if part).strip())
    following = match.start()
  return ', '.join(reversed(contents))


MAX_NESTING = 40
OWN_SECONDS = 0.15  # of processor time, for rung 2
# Not 58,500, whose comma groups its digits.
_DECIMAL_COMMA = re.compile(r'-?(?:0,\d+|\d+,(?!\d{3}$)\d+)')
_PAIR = re.compile(r'-?[1-9],\d')


def verify(
  response: str, reference: str, pool: fallback.Pool | None = None
) -> Verdict:
  """Whether a response ends on the reference's answer.

  Args:
    response: with what its prompt has written of it.
    reference: an answer, or a whole solution.
    pool: of workers for rung 3; without one, those that the process shares.
  """
  start = time.perf_counter()
  try:
    outcome = _judge(response, reference)
  except Exception as error:  # Whatever hostile text raises.
    outcome = f'error: crash: {type(error).__name__}'
  if isinstance(outcome, tuple):
    outcome, _ = (pool or fallback.shared()).judge(*outcome)
  kind, _, reason = outcome.partition(': ')
  return Verdict(kind, reason, seconds=time.perf_counter() - start)


def _judge(response, reference):
  """'kind' or 'kind: reason', or the (gold, answer) a worker has to judge."""
  answer = final_answer(response)
  if is_missing(reference):
    return 'error: unparsable: reference'
  if not answer:
    return 'wrong'
  if answer == reference:
    return 'correct'
  gold = reference_answer(reference)
  if answer == gold:
    return 'correct'
  if not gold or len(gold) > reading.MAX_LENGTH:
    return 'error: unparsable: reference'
  if len(answer) > reading.MAX_LENGTH:
    return f'error: unparsable: {len(answer)} characters'
  return _compare(reading.read(gold), reading.read(answer))


def _compare(gold, answer):
  if reading.same_text(gold, answer):
    return 'correct'
  if gold.choice and answer.choice and gold.choice != answer.choice:
    return 'wrong'
  if gold.behind_choice and answer.behind_choice:
    return _compare(gold.behind_choice, answer.behind_choice)
  # One of both names a choice, the other says what it is.
  if not gold.choice and answer.behind_choice:
    return _compare(gold, answer.behind_choice)
  if not answer.choice and gold.behind_choice:
    return _compare(gold.behind_choice, answer)
  for same in (reading.same_time, reading.same_numeral):
    said = same(gold, answer)
    if said is not None:
      return 'correct' if said else 'wrong'
  try:
    with values.limited_to(OWN_SECONDS):
      understood = _same_mathematics(gold, answer)
  except values.TooLong:
    return 'error: timeout'
  except values.TooLarge as error:
    return f'error: unparsable: too large: {error}'
  except RecursionError:
    return 'error: unparsable: nested too deeply'
  if understood is not None:
    return 'correct' if understood else 'wrong'
  if gold.has_words or answer.has_words:
    return 'wrong'
  if _nesting(answer.markup) > MAX_NESTING:
    return 'error: unparsable: nested too deeply'
  return gold.markup, answer.markup


def _same_mathematics(gold, answer):
  """True or False, None where one of both is not read."""
  factors = units.factors(gold.unit, answer.unit)
  read = None
  for ours, theirs in _trees(gold, answer):
    if not factors:
      return False
    for factor in factors:
      scaled = ('mul', theirs, ('num', factor, None))
      try:
        if equality.equal(ours, theirs if factor == 1 else scaled):
          return True
        if (
          gold.integer
          and answer.integer
          and (equality.same_progression(ours, theirs, gold.integer))
        ):
          return True
        read = False
      except values.Undefined:
        continue
  if read is False and _comma_is_point(gold, answer):
    return True
  return read


def _trees(gold, answer):
  """Pairs of trees, one for each meaning of a comma in a number."""
  pairs = []
  for ours, theirs in zip(gold.trees, answer.trees, strict=True):
    ours, theirs = ours or gold.trees[0], theirs or answer.trees[0]
    if ours is None and theirs and theirs[0] != 'rel':
      ours = gold.stated
    if theirs is None and ours and ours[0] != 'rel':
      theirs = answer.stated
    if ours is None or theirs is None:
      continue
    if gold.integer and answer.integer:
      common = ('sym', gold.integer)
      theirs = parts.replaced(theirs, answer.integer, common)
    if gold.bound and answer.bound:
      theirs = parts.replaced(theirs, answer.bound, ('sym', gold.bound))
    pairs.append((ours, theirs))
  return pairs


def _comma_is_point(gold, answer):
  """1,22 for 1.22; a reference of 1,2 is two numbers."""
  for a, b in ((gold, answer), (answer, gold)):
    if a is gold and _PAIR.fullmatch(a.body):
      continue
    if _DECIMAL_COMMA.fullmatch(a.body) and b.trees[0] and ',' not in b.body:
      tree = reading.read(a.body.replace(',', '.')).trees[0]
      return b.trees[0][0] == 'num' and equality.equal(tree, b.trees[0])
  return False


def _nesting(text):
  depth = deepest = 0
  for c in text:
    depth += (c in '([{') - (c in ')]}')
    deepest = max(deepest, depth)
  return deepest
