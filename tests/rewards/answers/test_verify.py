"""Verdicts on whole responses: forms, data sets, hostile text.

Where a response states its answer.
"""

import ast
import json
import pathlib
import sys
import time

import answer_cases
import answer_kinds
import pytest

from benchmarks.quality import public_data
from benchmarks.quality import verifiers
from k15.rewards.answers import verify

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = public_data.folder()
FORMS = [
  (form, row)
  for cases in (answer_cases, answer_kinds)
  for form, rows in cases.FORMS.items()
  for row in rows
]
SEPARATE = ('math500_pos', 'math500_neg', 'math500_perturb', 'math500_equiv')


def _verify_all(pairs):
  return [verify.verify(*pair) for pair in pairs]


def _response(answer):
  whole = any(mark in answer for mark in ('<answer', '####', '\\boxed'))
  return answer if whole else f'So $\\boxed{{{answer}}}$.'


@pytest.mark.parametrize(
  ('form', 'row'), FORMS, ids=[f'{form}: {row[0]}' for form, row in FORMS]
)
def test_form(form, row):
  reference, right, wrong = row
  answers = [*right, *wrong]
  verdicts = _verify_all([(_response(answer), reference) for answer in answers])
  kinds = dict(zip(answers, (v.kind for v in verdicts), strict=True))
  assert [a for a in right if kinds[a] != 'correct'] == []
  assert [a for a in wrong if kinds[a] == 'correct'] == []


@pytest.mark.parametrize('case', answer_cases.RESPONSES, ids=repr)
def test_where_the_answer_is_found(case):
  reference, response, is_right = case
  verdict = verify.verify(response, reference)
  assert verdict.kind == ('correct' if is_right else 'wrong')


def _rows(path):
  if not (DATA / path).exists():
    pytest.skip(f'{DATA / path} is not there: set {public_data.VARIABLE}')
  text = (DATA / path).read_text()
  if path.endswith('.json'):
    return json.loads(text)
  return [json.loads(line) for line in text.splitlines()]


def _disagreements(name):
  """(cases that differ from their label, number of cases)."""
  rows = [r for r in _rows(f'verifier_cases/{name}.jsonl') if 'policy' not in r]
  verdicts = _verify_all([(r['pred'], r['gold']) for r in rows])
  wrong = [
    (row['gold'], row['pred'][-80:])
    for row, verdict in zip(rows, verdicts, strict=True)
    if (verdict.kind == 'correct') != row['expect']
  ]
  return wrong, len(rows)


@pytest.mark.parametrize('name', SEPARATE)
def test_no_error_on_math500(name):
  assert _disagreements(name)[0] == []


def test_98_percent_of_what_users_reported_elsewhere():
  rows = _rows('public_cases/verifier.jsonl')
  wrong = [
    (row['gold'], row['pred'][-80:])
    for row in rows
    if (verify.verify(row['pred'], row['gold']).kind == 'correct')
    != row['expect']
  ]
  assert len(wrong) <= 0.02 * len(rows), wrong


def test_98_percent_of_the_other_suites():
  _rows('verifier_cases/misc.jsonl')
  names = [p.stem for p in sorted((DATA / 'verifier_cases').glob('*.jsonl'))]
  found = [_disagreements(name) for name in names if name not in SEPARATE]
  wrong = [case for cases, _ in found for case in cases]
  assert len(wrong) <= 0.02 * sum(count for _, count in found), wrong


@pytest.mark.parametrize(
  'path', ['gsm8k/train.jsonl', 'gsm8k/test.jsonl', 'math500/math500.json']
)
def test_references_agree_with_their_own_solutions(path):
  pairs = [
    (row['solution'], row['answer'])
    if 'solution' in row
    else (row['answer'], row['answer'].rpartition('####')[2].strip())
    for row in _rows(path)
  ]
  verdicts = _verify_all(pairs)
  assert [
    pair for pair, v in zip(pairs, verdicts, strict=True) if v.kind != 'correct'
  ] == []


DIGITS = [chr(c) for c in range(sys.maxunicode + 1) if chr(c).isdecimal()]


def test_hostile_answers_end_and_those_after_them_are_judged():
  pairs = []
  for text in verifiers.HOSTILE.values():
    pairs += [(rf'\boxed{{{text}}}', '7'), (text, '7'), (r'\boxed{7}', '7')]
  verdicts = _verify_all(pairs)
  assert {v.kind for v in verdicts[2::3]} == {'correct'}
  assert all(v.kind != 'correct' for v in verdicts[::3])


def test_every_digit_of_unicode_is_read():
  pairs = [(rf'\boxed{{1{c}}}', f'1{int(c)}') for c in DIGITS]
  assert all(v.kind == 'correct' for v in _verify_all(pairs))


PAYLOADS = (
  "__import__('os').system('touch {}')",
  "open('{}','w')",
  r"\text{{__import__('os').system('touch {}')}}",
  r"7 + \mathrm{{eval}}(open('{}','w'))",
  r'\begin{{pmatrix}} open("{}","w") & 1 \end{{pmatrix}}',
  r"\pi \cdot open('{}','w').close()",
  r"\operatorname{{exec}}(\text{{open('{}','w')}})",
  "[c for c in ().__class__.__base__.__subclasses__()][0]('{}')",
  r"\sum_{{i=1}}^{{open('{}','w')}} i",
  r'\write18{{touch {}}} \input{{|touch {}}}',
)


@pytest.mark.parametrize('payload', PAYLOADS)
def test_nothing_is_executed(payload, tmp_path):
  mark = tmp_path / 'mark'
  text = payload.replace('{}', str(mark)).replace('{{', '{').replace('}}', '}')
  shapes = (
    text,
    rf'\boxed{{{text}}}',
    f'<answer>{text}</answer>',
    f'#### {text}',
  )
  pairs = [(shape, '7') for shape in shapes]
  pairs += [(rf'\boxed{{{around}}}', text) for around in ('7', text + '+1')]
  _verify_all(pairs)
  assert not mark.exists()


def test_no_page_evaluates_text():
  for page in (ROOT / 'k15/rewards').glob('*answer*.py'):
    for node in ast.walk(ast.parse(page.read_text())):
      if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition('.')[2]
        called = ast.unparse(node.func)
        assert called.startswith('re.') or name not in (
          'eval', 'exec', 'compile', 'sympify', 'parse_expr', 'lambdify',
        ), f'{page.name}:{node.lineno}'  # fmt: skip


def test_an_error_says_why():
  verdict = verify.verify(r'\boxed{10^{10^{10}}}', '7')
  assert (verdict.kind, verdict.reason) == (
    'error',
    'unparsable: too large: power',
  )
  verdict = verify.verify(r'\boxed{7}', r'\undefined{')
  assert verdict.reason == 'unparsable: reference'


def test_seconds_are_told():
  start = time.perf_counter()
  verdict = verify.verify(r'\boxed{\frac{14}{2}}', '7')
  assert 0 < verdict.seconds < time.perf_counter() - start


@pytest.mark.parametrize('missing', ['nan', 'NaN', 'inf', '-inf', ' nan '])
def test_a_number_that_is_missing_is_no_reference(missing):
  for answer in (missing, 'nan', r'\infty', r'-\infty'):
    verdict = verify.verify(rf'\boxed{{{answer}}}', missing)
    assert (verdict.kind, verdict.reason) == ('error', 'unparsable: reference')
  assert verify.verify(r'\boxed{\infty}', r'\infty').kind == 'correct'


@pytest.mark.parametrize(
  ('response', 'answer'),
  [
    (r'\boxed{\frac{1}{2}}', r'\frac{1}{2}'),
    (r'\boxed{1} or \boxed{2}', '1, 2'),
    (r'\boxed{1}, so it is \boxed{2}', '2'),
    (r'\boxed{1 paper} and \boxed{2}', '1 paper, 2'),
    (r'\boxed 7.', '7'),
    (r'\boxed{7', None),
    (r'\boxed{1}</think> \boxed{2}', '2'),
    (r'<think> \boxed{1}', None),
    (r'\boxed{1}<|im_end|>\boxed{2}', '1'),
    ('<answer> 5 </answer>', '5'),
    (r'\boxed{4} <answer>5</answer>', '5'),
    ('so\n#### 1,080\n', '1,080'),
    ('The answer is $x=3$. I hope it is correct.', '$x=3$'),
    ('The answer is not 7.', None),
    ('答案：18', '18'),
    ('It costs 3-5 dollars', '5'),
    ('AB12C', 'AB12C'),
    ('It was A2 or some such thing', None),
    ('We get $2$ and $3$', '2, 3'),
    ('', None),
  ],
)  # fmt: skip
def test_final_answer(response, answer):
  assert verify.final_answer(response) == answer


@pytest.mark.parametrize(
  ('reference', 'answer'),
  [
    ('7', '7'),
    (r'Hence \boxed{7}.', '7'),
    (r'\boxed{x = 7', 'x = 7'),
    ('so 3 + 4 = 7\n#### 7', '7'),
    ('word ' * 80 + 'the answer is 7.', '7'),
  ],
)
def test_reference_answer(reference, answer):
  assert verify.reference_answer(reference) == answer


def test_no_more_boxes_than_the_limit_are_one_list():
  answer = verify.boxed(' '.join(rf'\boxed{{{i}}}' for i in range(1000)))
  assert answer.split(', ') == [
    str(i) for i in range(1000 - verify.MAX_BOXES, 1000)
  ]
