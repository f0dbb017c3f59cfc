"""Which fenced block of a response is the program.

Responses are Markdown as models write it: a program, then perhaps how to run
it, what it prints, or a corrected version.  The last block that says it is a
program is taken; one without a language counts where none says so, and one
that says it is something else (text, bash, json ...) never does.

A fence inside a string or comment of the program is part of the program, so
strings are followed, by one pass over the text: it is hostile, and never
parsed or run here.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence

_TAGS = {
  'python': ('python', 'py', 'python3', 'py3', 'ipython', 'pypy', 'pypy3'),
  'cpp': ('cpp', 'c++', 'cc', 'cxx', 'c++11', 'c++14', 'c++17', 'c++20'),
  'c': ('c', 'h', 'c11', 'c99'),
  'sh': ('sh', 'bash', 'shell'),
  'bash': ('bash', 'sh', 'shell'),
  'java': ('java',),
  'javascript': ('javascript', 'js', 'node', 'nodejs'),
  'typescript': ('typescript', 'ts'),
  'csharp': ('csharp', 'cs', 'c#'),
  'php': ('php',),
}  # fmt: skip
_PROGRAMS = {tag for name in ('python', 'cpp', 'c') for tag in _TAGS[name]}
_NO_PROGRAMS = (
  'bash', 'cmd', 'console', 'css', 'csv', 'diff', 'dockerfile', 'error',
  'html', 'ini', 'input', 'json', 'jsonl', 'latex', 'log', 'makefile',
  'markdown', 'math', 'md', 'mermaid', 'none', 'out', 'output', 'patch',
  'plain', 'plaintext', 'powershell', 'pycon', 'result', 'sh', 'shell',
  'shell-session', 'stderr', 'stdin', 'stdout', 'tex', 'text', 'toml',
  'traceback', 'tsv', 'txt', 'xml', 'yaml', 'yml', 'zsh',
)  # fmt: skip
# Their strings and comments are C's.
_C_FAMILY = ('cpp', 'c', 'java', 'javascript', 'typescript', 'csharp', 'php')
_C_LIKE = {tag for name in _C_FAMILY for tag in _TAGS[name]}
# At the start of a line with any words behind it, elsewhere with one at most.
# No backtracking: time is linear in the text.
_OPENING = re.compile(
  r'^(?P<indent>[ \t]*+)(?P<fence>`{3,}+|~{3,}+)(?P<info>[^`\n]*+)\n'
  r'|(?<!`)(?P<ticks>`{3,}+)[ \t]*+(?P<word>[\w+#.-]*+)[ \t]*+\r?\n',
  re.MULTILINE,
)
_REOPENING = re.compile(r'[ \t]*+[A-Za-z][\w+#.-]*+[ \t]*+\r?\n')
_TAG = re.compile(r'[\s{.]*([\w+#-]*)')
_LIST_ITEM = re.compile(r'[ \t]*(?:[-*+]|[0-9]+[.)])[ \t]+')
_QUOTED = re.compile(r'^[ \t]*>[ ]?', re.MULTILINE)
_FENCES = r'`{3,}|~{3,}'
_PYTHON_TOKENS = re.compile(
  r'\\[\\\'"\n]|"""|\'\'\'|["\'#\n]|' + _FENCES
)  # fmt: skip
# R"x( opens a raw string that )x" closes.
_C_TOKENS = re.compile(
  r'\\[\\\'"\n]|R"[^()\\\s"]{0,16}\(|\)[^()\\\s"\']{0,16}"|//|/\*|\*/|["\'\n]|'
  + _FENCES
)
_TEXT_TOKENS = re.compile(_FENCES)
_LONGEST_MARGIN = 80  # characters before a fence
_ENDS_WITH_LINE = ('"', "'", '#', '//')
# A word that begins a statement, an assignment, a call, a semicolon.
_CODE = re.compile(
  r'^[ \t]*(?:@|#include\b|(?:def|class|import|from|for|while|if|try|with)\b)'
  r'|\w[ \t]*[-+*/%|&]?=[^=]|\w\(|;[ \t\r]*$',
  re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Block:
  """A closed fence: its language in small letters, '' without, and text."""

  tag: str
  text: str


def find_program(
  text: str, language: str = '', names: Iterable[str] = ()
) -> str | None:
  """The program in a text, None where no closed block can be one.

  Args:
    text: of a policy; without its thinking.
    language: a key of languages.LANGUAGES, '' where it is not known.  Blocks
      in it are taken before those of other languages.
    names: that the program has to define.  The last block that defines all of
      them is taken before those that only call them.
  """
  found = [b for b in find_blocks(text, language) if b.text.strip()]
  possible = [b for b in found if b.tag not in _NO_PROGRAMS]
  unnamed = [b for b in possible if b.tag not in _PROGRAMS]
  names = tuple(names)
  candidates = (
    [b for b in possible if names and _defines(b.text, names)]
    or [b for b in found if b.tag in _TAGS.get(language, ())]
    or [b for b in possible if b.tag in _PROGRAMS]
    or [b for b in unnamed if _CODE.search(b.text)]
    or unnamed
  )
  if candidates:
    return candidates[-1].text
  for block in reversed(found):  # A document that holds the program.
    if block.tag in ('markdown', 'md'):
      return find_program(block.text, language, names)
  return None


def _defines(text, names: Sequence[str]):
  return all(
    re.search(
      rf'^[ \t]*(?:async[ ]+)?(?:def|class)[ ]+{re.escape(name)}\b'
      rf'|^{re.escape(name)}[ ]*[:=]',
      text,
      re.MULTILINE,
    )
    for name in names
  )


def find_blocks(text: str, language: str = '') -> list[Block]:
  """All closed blocks, in order; `language` is that of blocks without one."""
  blocks, place = [], 0
  while (opening := _OPENING.search(text, place)) is not None:
    tag = _TAG.match(opening['info'] or opening['word'] or '')[1].lower()
    fence = opening['fence'] or opening['ticks']
    end = _closing(text, opening.end(), fence, _tokens(tag, language))
    if end is None:
      break
    inside = text[opening.end() : end.start()]
    head, line_end, last_line = inside.rpartition('\n')
    if not last_line.strip(' \t>'):  # What comes before a fence on its line.
      inside = head + line_end
    blocks.append(Block(tag, _without_margin(inside, _margin(text, opening))))
    is_next = _starts_line(text, end) and _REOPENING.match(text, end.end())
    place = end.start() if is_next else end.end()
  return blocks


def _tokens(tag, language):
  if tag in _C_LIKE or (not tag and language in _C_FAMILY):
    return _C_TOKENS
  is_python = not tag or tag in _TAGS['python']
  return _PYTHON_TOKENS if is_python else _TEXT_TOKENS


def _closing(text, start, fence, tokens):
  """The run of the fence's characters that ends a block, None without one.

  Neither Python nor C has such a run outside strings and comments.  Where a
  string is never closed, the first run that stands alone counts.
  """
  inside, alone = '', None
  for token in tokens.finditer(text, start):
    if token[0][0] not in '`~':
      inside = _after(inside, token[0])
    elif token[0][0] == fence[0] and len(token[0]) >= len(fence):
      begins = _starts_line(text, token)
      if not inside and (begins or fence[0] == '`'):
        return token
      alone = alone or (token if begins else None)
  return alone


def _after(inside, token):
  """What is open after a token: a string, a comment, by what ends it; or ''."""
  if token[-1] == '\n':  # Perhaps behind a backslash.
    goes_on = inside not in _ENDS_WITH_LINE or (
      len(token) == 2 and inside in ('"', "'")
    )
    return inside if goes_on else ''
  if token[0] == '\\' or inside in ('#', '//'):
    return inside
  if not inside:
    if token.startswith('R"'):
      return f'){token[2:-1]}"'
    if token[0] == ')':
      return '"'
    return '' if token == '*/' else {'/*': '*/'}.get(token, token)
  ends = token == inside or (
    len(inside) == 1 and inside in (token[0], token[-1])
  )
  return '' if ends else inside


def _starts_line(text, token):
  start = token.start()
  before = text[max(0, start - _LONGEST_MARGIN) : start]
  _, line_end, line = before.rpartition('\n')
  is_whole = line_end or start <= _LONGEST_MARGIN
  return bool(is_whole) and not line.strip(' \t>')


def _margin(text, opening):
  """What every line of a block begins with: white space, or '>'."""
  if opening['indent'] is not None:
    return opening['indent']
  start = opening.start()
  line = text[text.rfind('\n', 0, start) + 1 : start]
  if '>' in line and not line.strip(' \t>'):
    return '>'
  return ' ' * len(line) if _LIST_ITEM.fullmatch(line) else ''


def _without_margin(text, margin):
  if margin == '>':
    return _QUOTED.sub('', text)
  lines = text.split('\n')
  first = next((line for line in lines if line.strip()), '')
  if not margin or not first.startswith(margin):
    return text
  return '\n'.join(
    line[min(len(margin), len(line) - len(line.lstrip(' \t'))) :]
    for line in lines
  )
