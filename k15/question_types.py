"""Which questions cannot be judged fairly by their answer: k1.5, section 2.1.

"We exclude questions that are prone to false positives, such as
multiple-choice, true/false and proof-based ones": a guess is right too often,
or nothing short can be compared.  Every rule here is a pattern that can be
read, in English and Chinese, and says what it saw.
"""

import dataclasses
import re

from k15 import config_keys
from k15.data_types import Problem

KINDS = config_keys.QUESTION_TYPES


@dataclasses.dataclass(frozen=True)
class Finding:
  """Attributes:
  kind: one of KINDS.
  evidence: what in the question or answer says so.
  """

  kind: str
  evidence: str


# An option label stands alone: '(A)' but not the probability 'P(A)'.
_OPTION_STYLES = (
  r'(?<![\w\\)])[(（] *{0} *[)）]',
  r'(?:^|\n|\s{{2,}}|[;；]\s*)(?:\*\*)?{0}\s?[.)、．:：](?=\s*\S)',
  r'(?<![A-Za-z0-9(（]){0}[、．]\s*\S',
)
_FIGURE = re.compile(r'\[asy\].*?\[/asy\]', re.DOTALL)
_TYPEFACE = re.compile(
  r'\\(?:textbf|text|mathrm|mathbf|textrm|bf|rm|bullet)\b|[{}$*]|\\[ ~]'
)
_WIDE_SPACE = re.compile(r'\\q?quad\b|\\\\')
_LABEL_ANSWER = re.compile(r'\(?\s*[A-J]\s*\)?\.?')
_ASKS_FOR_LABEL = re.compile(
  r'letters? of (?:the|all)|correct (?:option|choice|letter)|answer choices?'
  r'|\b(?:enter|write|type) ["“`\']+[A-J]["”\'] (?:for|if)\b'
  r'|选择题|单选|多选',
  re.IGNORECASE,
)
_WHICH = re.compile(
  r'\bwhich (?:one |two |ones )?(?:of|among) (?:the following|these|those'
  r'|the (?:options|choices|statements) (?:below|above))\b'
  r'|(?:下列|以下|下面)[^。？?\n]{0,30}?(?:的是|哪[一个项些种]|正确的有|错误的有)',
  re.IGNORECASE,
)
_TRUTH_ANSWER = re.compile(
  r'true|false|yes|no|correct|incorrect|t|f|对|错|是|否|不是|正确|错误|真|假'
  r'|不正确|√|×|✓|✗',
  re.IGNORECASE,
)
_TRUTH_QUESTION = re.compile(
  r'^\W*(?:true or false|true/false|t/f)\b|\btrue or false\s*[?:.]?\s*$'
  r'|\b(?:is|are|was|decide|state|determine|say)\b[^.?!\n]{0,200}?'
  r'\b(?:whether|true or false)\b[^.?!\n]{0,80}?\b(?:true|false)\b'
  r'|判断(?:题|正误|对错|真假)|判断[^。]{0,60}(?:是否|正误|对错|真假)'
  r'|(?:对还是错|是否(?:正确|成立)|正确吗|对吗)',
  re.IGNORECASE,
)
# Where an order is given: at the start of a sentence, or after these words.
_ORDER = (
  r'(?:^|[.!?:;。；：？]\s*|[\])）]\s+|\n\s*|\d[.)、]\s*'
  r'|\b(?:and|then|also|hence|thus|please|must|should|can you)\s+|[,，]\s*)'
)
_PROOF = re.compile(
  _ORDER
  + r'(?:(?:dis)?prove\s+(?:that|or\b|the\b|it\b|this\b|by\b|for\b|if\b|all\b'
  r'|each\b|every\b|there\b|why\b|rigorously|[:$\\(])'
  r'|(?:show|verify|demonstrate|establish|justify)\s+(?:that|why)\b'
  r'|(?:give|write|provide|outline)\s+an?\s+(?:\w+\s+)?proof\b)'
  r'|\b(?:use|using)\b[^.?!\n]{0,200}?\bto\s+(?:prove|show)\s+that\b',
  re.IGNORECASE,
)
_CHINESE_PROOF = re.compile(
  r'求证|试证|(?:^|[。；，：:,;.\s)）]|请|并|试|以此|由此)证明(?!书|人|文件|材料|了)'
)
_ALSO_ASKS = re.compile(
  r'(?:^|[.!?:;,]\s*|\b(?:and|then|hence|also)\s+)'
  r'(?:find|compute|determine|evaluate|calculate|what\b|how many|how much)'
  r'|求(?!证)|计算|多少',
  re.IGNORECASE,
)


def question_type(problem: Problem) -> Finding | None:
  """The reason to leave a question out, or None.

  Closed choices among named things ("even, odd or neither") pass here and are
  left to the guesses; a proof that also asks for a value passes because that
  value can be judged.
  """
  prompt = _FIGURE.sub(' ', problem.prompt)
  answer = _TYPEFACE.sub('', problem.answer).strip()
  return (
    _multiple_choice(prompt, answer)
    or _true_false(prompt, answer)
    or _proof(prompt, answer)
  )


def options(text: str) -> str:
  """The letters of the longest list of options, 'ABCD'; '' without one.

  Labels are of one style and in order from A (or a), three at least.
  """
  text = _TYPEFACE.sub('', _WIDE_SPACE.sub('    ', text))
  longest = ''
  for style in _OPTION_STYLES:
    for letters in ('ABCDEFGHIJ', 'abcdefghij'):
      found, start = '', 0
      for letter in letters:
        match = re.compile(style.format(letter)).search(text, start)
        if not match:
          break
        found, start = found + letter, match.end()
      longest = max(longest, found, key=len)
  return longest if len(longest) >= 3 else ''


def _multiple_choice(prompt, answer):
  which = _WHICH.search(prompt)
  asks = _ASKS_FOR_LABEL.search(prompt)
  labels = options(prompt)
  is_label = bool(_LABEL_ANSWER.fullmatch(answer))
  # Three conditions (A) to (C), or parts (a) to (e), are no options.
  is_list = labels[:1] == 'A' and len(labels) > 3
  if labels and (is_list or which or asks or is_label):
    return Finding(KINDS[0], f'options {labels[0]} to {labels[-1]}')
  if which:
    return Finding(KINDS[0], f'{which[0]!r}')
  if asks and is_label:
    return Finding(KINDS[0], f'{asks[0]!r}, and the answer is {answer!r}')
  return None


def _true_false(prompt, answer):
  # A single letter is as often a variable or a point.
  if _TRUTH_ANSWER.fullmatch(answer.rstrip('.。')) and (
    len(answer) > 1 or not answer.isascii()
  ):
    return Finding(KINDS[1], f'the answer is {answer!r}')
  asked = _TRUTH_QUESTION.search(prompt)
  # In how many ways can one answer ten questions that are true or false?
  if asked and not any(char.isdigit() for char in answer):
    return Finding(KINDS[1], f'{asked[0].strip()[:80]!r}')
  return None


def _proof(prompt, answer):
  found = _PROOF.search(prompt) or _CHINESE_PROOF.search(prompt)
  if not found:
    return None
  rest = prompt[: found.start()] + ' . ' + prompt[found.end() :]
  if answer and _ALSO_ASKS.search(rest):
    return None
  return Finding(KINDS[2], f'{found[0].strip(" .,;:")!r}')
