"""Which fenced block of a response is the program."""

import json

import pytest

from benchmarks.quality import public_data
from k15.rewards.code import fences
from k15.rewards.code import programs

PUBLIC = public_data.folder() / 'public_cases'
DOCSTRING = 'def f(x):\n  """Doubles.\n\n  ```python\n  f(1)\n  ```\n  """\n'
C_COMMENT = '/*\n```\n./main\n```\n*/\nint main() { return 0; }\n'


def fenced(text, tag='python', fence='```'):
  return f'{fence}{tag}\n{text}{fence}\n'


@pytest.mark.parametrize(
  'tag',
  [
    'python', 'py', 'Python3', 'PYTHON', ' python', 'python title="x.py"',
    '{.python .numbered}', '{python}', 'python:main.py', 'python\r', 'cpp',
    'c++', 'C++17', 'c', '',
  ],
)  # fmt: skip
@pytest.mark.parametrize('fence', ['```', '````', '~~~'])
def test_a_fence_may_name_its_language_in_many_ways(tag, fence):
  assert fences.find_program(fenced('A\n', tag, fence)) == 'A\n'


@pytest.mark.parametrize(
  'tag',
  ['', 'bash', 'sh', 'text', 'txt', 'json', 'output', 'console', 'diff',
   'yaml', 'Output', 'shell'],
)  # fmt: skip
def test_what_comes_with_a_program_is_none(tag):
  program, other = fenced('A\n'), fenced('python main.py\n', tag)
  for text in (
    f'{program}Run it:\n{other}', f'{other}{program}',
    f'{other}{program}{other}',
  ):  # fmt: skip
    assert fences.find_program(text) == 'A\n'
    indented = text.replace('```', '   ```')
    assert fences.find_program(indented) == 'A\n'


def test_what_says_it_is_no_program_never_counts():
  for tag in ('text', 'bash', 'json', 'output'):
    assert fences.find_program(fenced('5\n', tag)) is None
  assert fences.find_program(fenced('ls\n', 'bash'), 'sh') == 'ls\n'


def test_a_corrected_program_wins_and_an_empty_block_does_not():
  draft, corrected = fenced('x = 1\n'), fenced('x = 2\n')
  assert fences.find_program(draft + corrected) == 'x = 2\n'
  text = draft + corrected + fenced('\n') + fenced('')
  assert fences.find_program(text) == 'x = 2\n'
  assert fences.find_program(fenced('\n')) is None


def test_without_languages_what_looks_like_code_is_the_program():
  program = 'n = int(input())\nprint(n + 1)\n'
  text = fenced(program, '') + 'It prints\n' + fenced('5\n', '')
  assert fences.find_program(text) == program
  assert fences.find_program(fenced('5\n', '')) == '5\n'
  main = '#include <cstdio>\nint main() {}\n'
  text = fenced(main, '') + fenced('1 2 3\n', '')
  assert fences.find_program(text, 'cpp') == main


def test_the_language_of_the_tests_comes_first():
  text = fenced('x = 1\n') + fenced('int x;\n', 'cpp')
  assert fences.find_program(text) == 'int x;\n'
  assert fences.find_program(text, 'cpp') == 'int x;\n'
  assert fences.find_program(text, 'python') == 'x = 1\n'


def test_a_block_that_only_calls_what_is_tested_is_an_example():
  program = 'def f(x):\n  return x\n'
  text = fenced(program) + 'Use:\n' + fenced('print(f(1))\n')
  assert fences.find_program(text, 'python', ['f']) == program
  assert fences.find_program(text, 'python') == 'print(f(1))\n'
  corrected = fenced('f = abs\n', '')  # That it names no language is no loss.
  assert fences.find_program(text + corrected, names=['f']) == 'f = abs\n'


@pytest.mark.parametrize(
  ('tag', 'program'),
  [
    ('python', DOCSTRING + '  return 2 * x\n'),
    ('', DOCSTRING + '  return 2 * x\n'),
    ('python', "s = '''\n```\n'''\nprint(s)\n"),
    ('python', 'r = r"""\\"a"""\nx = """\n```bash\nls\n```\n"""\n'),
    ('python', "print('```')  # it's ```\nprint(\"```\")\n"),
    ('python', 'fence = "`" * 3 + "```" + \'it\\\'s ```\'\n'),
    ('python', 's = "a\\\n```\\\n"\nprint(s)\n'),
    ('python', "a = ''\nb = 'x''```'\nc = '''it's'''\n"),
    ('cpp', C_COMMENT),
    ('c', '// don\'t "\n' + C_COMMENT),
    ('cpp', 'auto s = R"x(\n```\n)" )x";\nint n = f("a")"b";\n'),
    ('cpp', "int n = 1'000'000;  // ```\nchar c = '\"';\nputs(\"```\");\n"),
  ],
)
def test_a_fence_in_a_string_or_comment_is_part_of_the_program(tag, program):
  for text in (
    fenced(program, tag),
    'So:\n' + fenced(program, tag) + 'Prints\n```\n5\n```',
    fenced('x = 1\n', tag) + fenced(program, tag),
  ):  # fmt: skip
    assert fences.find_program(text) == program


def test_a_string_that_never_ends_does_not_take_what_follows():
  text = fenced('x = """\n') + 'and no more.'
  assert fences.find_program(text) == 'x = """\n'


@pytest.mark.parametrize(
  ('text', 'program'),
  [
    ('1. Do\n   ```python\n   if x:\n     y()\n   ```\n', 'if x:\n  y()\n'),
    ('- ```python\n  x = 1\n\n  y = 2\n  ```\n', 'x = 1\n\ny = 2\n'),
    ('> ```python\n> if x:\n>   y()\n> ```\n', 'if x:\n  y()\n'),
    ('  ```python\nif x:\n  y()\n  ```', 'if x:\n  y()\n'),
    ('\t```py\n\tx = 1\n\t```', 'x = 1\n'),
    ('Answer: ```python\nx\n``` That is all.', 'x\n'),
    ('<answer>```python\nx\n```</answer>', 'x\n'),
    ('```python\nx```\n', 'x'),
    ('```python\nx\n```bash\nls\n```\n', 'x\n'),
    ('Use ```x``` so:\n```python\nx\n```\nand ```y```\n', 'x\n'),
    ('```python\r\nx\r\n```\r\n', 'x\r\n'),
    ('````markdown\n# A\n```python\nx\n```\n````', 'x\n'),
    ('````python\nx\n```\ny\n````', 'x\n```\ny\n'),
    ('~~~python\nx = ~~~1\n~~~', 'x = ~~~1\n'),
    ('```python\nx', None), ('```python', None), ('x = 1', None), ('', None),
    ('```x``` and ````y````', None),
    ('```python\nx\n```\nBetter:\n```python\ny\n', 'x\n'),
  ],
)  # fmt: skip
def test_fences_as_models_write_them(text, program):
  assert fences.find_program(text) == program


def test_thinking_that_never_ends_is_no_answer():
  block = fenced('x\n')
  assert programs.extract_program(f'<think>{block}</think>{block}') == 'x\n'
  for text in (
    f'<think>{block}', f'{block}</think>', f'<think>{block}</think>',
    f'<think>a</think><think>{block}',
  ):  # fmt: skip
    assert programs.extract_program(text) is None


def test_public_reports():
  path = PUBLIC / 'extract_program.jsonl'
  if not path.exists():
    pytest.skip(f'no {path.name} below {PUBLIC}')
  for line in path.read_text().splitlines():
    case = json.loads(line)
    found = programs.extract_program(case['response'])
    assert found == case['expect'], case['name']
