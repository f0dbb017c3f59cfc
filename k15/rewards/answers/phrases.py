"""Words around an answer: ordinals, conditions, labels of parts and choices.

All texts are markup, as reading.markup gives it.  Everything here is
linear in the length of the text, and nothing is evaluated.
"""

import itertools
import re

MAX_CONDITIONS = 32  # places where a condition may start

_SUFFIX = '(?:st|nd|rd|th)'
_ORDINAL = re.compile(
  rf'(?<=[\da-z)}}]) ?(?:'
  rf'\^ ?\{{ ?\\text ?\{{ ?-?{_SUFFIX} ?\}} ?\}}|\^ ?\{{ ?{_SUFFIX} ?\}}'
  rf'|(?:\^ ?)?\\text(?:superscript)? ?\{{ ?-?{_SUFFIX} ?\}})'
)
_PLAIN_ORDINAL = re.compile(rf'(?<=\d)-?{_SUFFIX}(?![a-zA-Z])')

_TEXT = re.compile(r'\\text ?\{([^{}]*)\}')
_LETTERS = r'(?P<letter>[a-zA-Z])(?: ?, ?[a-zA-Z])*'
_SET = (
  r'\{? ?(?P<set>\\reals|[RZNQ])(?![a-zA-Z]) ?\}?'
  r'(?: ?[\^_] ?(?:\{ ?[*+]? ?(?:\\cdot)? ?\}|[*+]|\\cdot)?)?'
)
_KIND = (
  r'(?:arbitrary |any |some |an? )*(?P<kind>integer|whole|natural|real|constant'
  r'|arbitrary)s?(?: (?:number|constant|value)s?)?'
)
_EACH = r'(?:where|with|for(?: all| any| every| each)?|and|\\forall)'
# What leaves open for which numbers an answer holds: for all that there are.
_CONDITION = re.compile(
  rf'(?:[,;(|:]|\\vert)? ?,? ?(?:{_EACH} ?)?(?:'
  rf'{_LETTERS} ?\\in ?{_SET}|{_LETTERS.replace("letter", "letter2")} '
  rf'(?:(?:is|are|be|being) )?{_KIND}'
  rf'|{_KIND.replace("kind", "kind2")} {_LETTERS.replace("letter", "letter4")})'
  rf'[ ).]*'
  rf'|[,;(]? ?,? ?(?:for (?:all|any|every|each)|\\forall) ?'
  rf'(?:real|values? of|real values? of|real numbers?|reals)? ?'
  rf'(?:[a-zA-Z]|{_LETTERS.replace("letter", "letter3")} ?\\in ?\\reals)?[ ).]*'
)
_CONDITION_STARTS = re.compile(
  r'[,;(|:]|\\vert|\\text|\\forall|(?<![a-zA-Z])(?:for|where|with)(?![a-zA-Z])'
)
_SUCH_THAT = ('|', '\\vert', ':')  # in {2k | k in Z}
_LETTER_ALONE = re.compile(r'\\\{ ?[a-zA-Z]')
_COMPARES = re.compile(r'[<>]|\\(?:le|ge|lt|gt|ne)(?![a-zA-Z])')

_LABELS = (
  '1 2 3 4 5 6 7 8 9', 'a b c d e f g h', 'i ii iii iv v vi vii viii',
  'I II III IV V VI VII VIII',
)  # fmt: skip
_TEXT_LABEL = re.compile(r'\\text ?\{ ?(\((?:[1-9a-h]|[ivIV]+)\)) ?\}')

_CHOICE = re.compile(
  r'^(?:(?:option|choice|answer)s?:? )?\(?(?P<letter>[a-zA-Z])[).]*$', re.I
)
_CHOICE_LABEL = re.compile(
  r'^(?:(?i:option|choice|answer) )?(?:\((?P<a>[A-J])\)[.:]?|(?P<b>[A-J])[).:]'
  r'|(?P<c>[A-J]) ?-(?=[^-+=\\]*[A-Za-z]{3})) ?'
)
# Another choice behind the first; 'A' may be an article.
_OTHER_CHOICE = re.compile(
  r'(?<![A-Za-z])(?:[B-J](?![A-Za-z])|A(?![A-Za-z])(?! [a-z]))'
)

_UP_TO_19 = (
  'zero one two three four five six seven eight nine ten eleven twelve'
  ' thirteen fourteen fifteen sixteen seventeen eighteen nineteen'
)
_TENS = 'twenty thirty forty fifty sixty seventy eighty ninety'
_SCALES = {'hundred': 100, 'thousand': 1000, 'million': 10**6}
_CARDINALS = {word: i for i, word in enumerate(_UP_TO_19.split())} | {
  word: 10 * (i + 2) for i, word in enumerate(_TENS.split())
}
_IRREGULAR = dict(
  first=1, second=2, third=3, fifth=5, eighth=8, ninth=9, twelfth=12
)
_ORDINALS = (
  _IRREGULAR
  | {f'{word}th': i for word, i in _CARDINALS.items() if i > 3}
  | {f'{word[:-1]}ieth': i for word, i in _CARDINALS.items() if i > 19}
)
_PARTS_OF_ONE = {
  **{word: i for word, i in _ORDINALS.items() if i > 2},
  'half': 2, 'halve': 2, 'quarter': 4,
}  # fmt: skip


def without_ordinals(text: str) -> str:
  """12th, 12^{th} and 12^{\\\\text{th}} as 12."""
  return _PLAIN_ORDINAL.sub('', _ORDINAL.sub(' ', text))


def without_condition(text: str) -> tuple[str, str]:
  """An answer without 'for all x', 'k in Z' and the like behind it.

  A condition that leaves numbers out stays: x > 0, and of an inequality
  that only integers are meant.

  Returns:
    (the answer, the letter that stands for any integer or '').
  """
  end = '\\}' if text.endswith('\\}') else ''
  whole = text.removesuffix('\\}')
  starts = _CONDITION_STARTS.finditer(whole)
  for start in itertools.islice(starts, MAX_CONDITIONS):
    tail = ' '.join(_TEXT.sub(r' \1 ', whole[start.start() :]).split())
    match = _CONDITION.fullmatch(tail)
    body = whole[: start.start()].strip(' ,;')
    if not match or not body or body.endswith(('(', '{', '|', '\\vert')):
      continue
    kind = match['kind'] or match['kind2']
    whole_numbers = match['set'] in ('Z', 'N') or kind in (
      'integer', 'whole', 'natural',
    )  # fmt: skip
    if (whole_numbers or match['set'] == 'Q') and _COMPARES.search(body):
      return text, ''
    if start[0] in _SUCH_THAT and (
      not (end and whole_numbers) or _LETTER_ALONE.fullmatch(body)
    ):
      continue
    letter = match['letter'] or match['letter2'] or match['letter4'] or ''
    return body + end, letter if whole_numbers else ''
  return text, ''


def parts(text: str) -> list[str]:
  """What answers to several questions say: of (1) 5; (2) 7, 5 and 7.

  Returns:
    Nothing unless the labels start the text and follow each other.
  """
  if ')' not in text:
    return []
  text = ' '.join(_TEXT_LABEL.sub(r'\1', text).split())
  for labels in _LABELS:
    found, rest = [], text
    for label in labels.split():
      before = '^()' if not found and rest is text else r'^(.*?\S)(?:[;,.] ?| )'
      match = re.match(
        rf'{before}(?:[Pp]art )?(?:\(?{label}\)[.:]?) ?(?=\S)', rest
      )
      if match is None:
        break
      found.append(match[1])
      rest = rest[match.end() :]
    found = [part.strip(' ;,.:') for part in [*found[1:], rest]]
    if len(found) > 1 and not any(map(_is_torn, found)):
      return found
  return []


def _is_torn(part):
  """Whether it is nothing, or what is left of a sum or product."""
  return not part or part[0] in '+*/^=' or part[-1] in '+-*/^='


def choice(text: str) -> tuple[str, bool]:
  """(letter of the choice a text names or '', whether it is the whole text)."""
  whole = _CHOICE.match(text)
  if whole:
    return whole['letter'], True
  label = _CHOICE_LABEL.match(text)
  if label is None or _OTHER_CHOICE.search(text, label.end()):
    return '', False
  return next(letter for letter in label.groups() if letter), False


def without_choice(markup: str) -> str:
  """What is behind the label of a choice; '' without one."""
  opened = re.match(r'\\text ?\{ ?', markup)
  text = markup[opened.end() :] if opened else markup
  label = _CHOICE_LABEL.match(text)
  if label is None:
    return ''
  rest = text[label.end() :].lstrip()
  if not opened:
    return rest
  return rest[1:].strip() if rest.startswith('}') else f'\\text{{{rest}'


def spelled_number(text: str) -> str | None:
  """Markup of a number in English words: twenty-one, third, two thirds."""
  words = text.casefold().replace('-', ' ').split()
  if not 0 < len(words) < 8:
    return None
  last = words[-1].removesuffix('s')
  if last in _PARTS_OF_ONE and len(words) > 1:
    *whole, top = words[:-1]
    top = 1 if top in ('a', 'one') else _CARDINALS.get(top)
    if top is None or (whole and whole[-1] != 'and'):
      return None
    number = _cardinal(whole[:-1]) if whole else 0
    if number is None:
      return None
    return rf'{number or ""}\frac{{{top}}}{{{_PARTS_OF_ONE[last]}}}'
  if words == ['half']:
    return r'\frac{1}{2}'
  if words[-1] in _ORDINALS:
    before = _cardinal(words[:-1]) if words[1:] else 0
    return None if before is None else str(before + _ORDINALS[words[-1]])
  number = _cardinal(words)
  return None if number is None else str(number)


def _cardinal(words):
  """A whole number in words, None for other words."""
  total, group = 0, 0
  for i, word in enumerate(words):
    number = _CARDINALS.get(word)
    if number is not None and _can_follow(number, group % 100, i):
      group += number
    elif word == 'hundred' and group:
      group *= 100
    elif word in _SCALES and group:
      total, group = total + group * _SCALES[word], 0
    elif word != 'and' or not 0 < i < len(words) - 1:
      return None
  return total + group if words else None


def _can_follow(number, before, position):
  """One after twenty, and anything after a hundred."""
  return (
    not position or not before or (before in range(20, 100, 10) and number < 10)
  )
