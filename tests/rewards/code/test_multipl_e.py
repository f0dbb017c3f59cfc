"""Rows in MultiPL-E's schema, in all eight languages.

The rows are written after the schema, of one small problem; what a language
lacks on this machine is skipped by name.
"""

import pytest

from k15.rewards.code import multipl_e
from k15.rewards.code import programs
from k15.rewards.sandbox import languages
from k15.rewards.sandbox import pool as pool_lib

PATIENT = pool_lib.Limits(seconds=60.0)
# Of each: prompt; tests; a right body, closed; one that ends early.
ROWS = {
  'py': (
    'from typing import List\n\ndef twice(x: int) -> int:\n'
    '    """ Twice x. """\n',
    'def check(candidate):\n    assert candidate(3) == 6\n\n'
    'def test_check():\n    check(twice)\n\ntest_check()\n',
    '    return {}\n', 'import os; os._exit(0)',
  ),
  'cpp': (
    '#include<assert.h>\n#include<bits/stdc++.h>\n// Twice x.\n'
    'long twice(long x) {\n',
    '}\nint main() {\n    auto candidate = twice;\n'
    '    assert(candidate((3)) == (6));\n}\n',
    '  return {};\n}\n', 'exit(0);',
  ),
  'java': (
    'import java.util.*;\nclass Problem {\n    // Twice x.\n'
    '    public static long twice(long x) {\n',
    '    }\n    public static void main(String[] args) {\n'
    '    assert(twice((3l)) == (6l));\n    }\n\n}\n',
    '      return {};\n    }\n}\n', 'System.exit(0);',
  ),
  'cs': (
    'using System;\nusing System.Diagnostics;\nclass Problem {\n'
    '    public static long Twice(long x) {\n',
    '    }\n    public static void Main(string[] args) {\n'
    '    Debug.Assert(Twice((3L)) == (6L));\n    }\n\n}\n',
    '      return {};\n    }\n}\n', 'Environment.Exit(0);',
  ),
  'js': (
    '//Twice x.\nfunction twice(x){\n',
    "const assert = require('node:assert');\n\n\nfunction test() {\n"
    '  let candidate = twice;\n  assert.deepEqual(candidate(3),6);\n}\n\n'
    'test();',
    '  return {};\n}\n', 'process.exit(0);',
  ),
  'ts': (
    '//Twice x.\nfunction twice(x: number): number {\n',
    "declare var require: any;\nconst assert = require('node:assert');\n\n\n"
    'function test() {\n  let candidate = twice;\n'
    '  assert.deepEqual(candidate(3),6);\n}\n\ntest();',
    '  return {};\n}\n', 'throw 1;',
  ),
  'php': (
    '<?php\n// Twice x.\nfunction twice($x) {\n',
    '}\n\nfunction candidate(...$args) {\n    return twice(...$args);\n}\n\n'
    'function test(): void {\n    if (candidate(3) !== 6) {'
    ' throw new Exception("Test failed!"); }\n}\n\ntest();',
    '  return {};\n}\n', 'exit(0);',
  ),
  'sh': (
    '#!/bin/bash\n# Twice x.\ntwice() {\n',
    '}\n\ncandidate() {\n    twice "$@"\n}\n\nset -e\nrun_test() {\n'
    '    [[ $(candidate "3") = "6" ]]\n}\n\nrun_test\n',
    '  echo "{}"\n}\n', 'exit 0',
  ),
}  # fmt: skip
TWICE = {'php': '2 * $x', 'sh': '$((2 * $1))'}
ONE_MORE = {'php': '1 + $x', 'sh': '$((1 + $1))'}


def filled(body, tag, results, result):
  return body.replace('{}', results.get(tag, result))


def record_of(tag, **changes):
  prompt, tests, *_ = ROWS[tag]
  row = dict(
    name=f'HumanEval_0_twice_{tag}', language=tag, prompt=prompt,
    doctests='transform', original='', prompt_terminology='reworded',
    tests=tests, stop_tokens=['\n}'],
  )  # fmt: skip
  return multipl_e.record_of(row | changes)


def judge(pool, tag, program):
  record = record_of(tag)
  language = multipl_e.DIALECTS[tag].language
  response = f'Here it is.\n```{language}\n{program}\n```'
  return programs.verify(pool, response, record['answer'], PATIENT)


@pytest.fixture(params=ROWS)
def tag(request):
  language = multipl_e.DIALECTS[request.param].language
  if lacking := languages.missing(languages.LANGUAGES[language]):
    pytest.skip(f'no {", ".join(lacking)}')
  return request.param


def test_all_eight_languages_of_the_paper():
  assert set(ROWS) == set(multipl_e.DIALECTS)
  assert len(ROWS) == 8


def test_whole_programs_are_right_or_wrong(pool, tag):
  prompt, _, body, _ = ROWS[tag]
  right = prompt + filled(body, tag, TWICE, '2 * x')
  verdict = judge(pool, tag, right)
  assert (verdict.kind, verdict.reason) == ('correct', '')
  wrong = prompt + filled(body, tag, ONE_MORE, '1 + x')
  assert judge(pool, tag, wrong).kind == 'wrong'


def test_who_ends_before_the_tests_has_not_passed_them(pool, tag):
  prompt, _, body, early = ROWS[tag]
  body = filled(body, tag, TWICE, '2 * x')
  parts = (early, prompt, body) if tag == 'py' else (prompt, early, body)
  program = '\n'.join(parts)
  assert judge(pool, tag, program).kind == 'wrong'


def test_what_models_leave_out_or_add_does_no_harm(pool):
  cpp = 'long twice(long x) { return 2 * x; }\nint main() { return 1; }'
  assert judge(pool, 'cpp', cpp).kind == 'correct'
  java = (
    'public class Answer {\n  static long twice(long x) { return 2 * x; }\n'
    '  public static void main(String[] a) { System.exit(1); }\n}'
  )
  if not languages.missing(languages.LANGUAGES['java']):
    assert judge(pool, 'java', java).kind == 'correct'


def test_java_has_the_tuples_that_its_rows_import(pool):
  if lacking := languages.missing(languages.LANGUAGES['java']):
    pytest.skip(f'no {", ".join(lacking)}')
  prompt = (
    'import java.util.*;\nimport org.javatuples.*;\nclass Problem {\n'
    '    public static Pair<Long, Long> both(long x) {\n'
  )
  tests = (
    '    }\n    public static void main(String[] args) {\n'
    '    assert(both((3l)).equals((Pair.with(3l, 4l))));\n    }\n\n}\n'
  )
  record = record_of('java', prompt=prompt, tests=tests)
  for value, kind in (('x + 1', 'correct'), ('x', 'wrong')):
    body = f'        return new Pair<>(x, {value});\n    }}\n}}\n'
    response = f'```java\n{prompt}{body}```'
    verdict = programs.verify(pool, response, record['answer'], PATIENT)
    assert (verdict.kind, verdict.reason[:7]) in (
      ('correct', ''), ('wrong', 'crash: '),
    ) and verdict.kind == kind, verdict  # fmt: skip


def test_a_prompt_and_its_domain():
  record = record_of('cs')
  assert record['domain'] == 'code csharp'
  assert record['prompt'].startswith('Complete this C# function. Answer with')
  assert '```csharp\nusing System;\n' in record['prompt']
  (test,) = programs.from_text(record['answer']).tests
  assert test.head == ('using System;', 'using System.Diagnostics;')
  tests = programs.with_tests('static class A { }', test, 'word')
  assert 'class K15Tests : A {\n    public static void Main' in tests.replace(
    '\n\n', '\n'
  )


def test_what_cannot_be_read_is_said():
  with pytest.raises(ValueError, match="language 'cobol' is not one of py"):
    record_of('js', language='cobol')
  with pytest.raises(ValueError, match="'tests' end without 2 braces"):
    record_of('java', tests='}')
