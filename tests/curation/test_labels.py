"""Tests of k15/curation/labels.py: what goes, and what only looks like it.

Tests of k15/curation/labels.py.
"""

import pytest

from k15.curation import labels
from k15.data_types import Problem

CHOICE = [
  ('What is 2+3? (A) 4 (B) 5 (C) 6 (D) 7', 'B'),
  ('Many? $\\textbf{(A)}\\ 1\\qquad\\textbf{(B)}\\ 2\\qquad\\textbf{(C)}\\ 3'
   '\\qquad\\textbf{(D)}\\ 4$', '3'),
  ('Its sum is: \\[\\text{(A) } 0 \\quad\\\\ \\text{(B) } 1 \\quad\\\\'
   ' \\text{(C) } 2 \\quad\\\\ \\text{(D) } 3\\]', '1'),
  ('Largest planet?\nA. Mars\nB. Jupiter\nC. Venus\nD. Earth', 'B'),
  ('Largest planet?\nA) Mars\nB) Jupiter\nC) Venus', 'B'),
  ('Which of the following is prime: 51, 53 or 57?', '53'),
  ('Which of these is true?\n(a) $1<0$ (b) $0<1$ (c) neither', 'b'),
  ('In which set is it? (A) X (B) Y (C) Z', '(B)'),
  ('Which conic? Enter "C" for circle, "P" for parabola, "E" for ellipse.',
   '\\text{(E)}'),
  ('下列说法正确的是（ ）\nA．1 大于 2\nB．2 大于 1\nC．1 等于 2\nD．无', 'B'),
  ('已知 x=1，则以下哪个成立？ A、x>0 B、x<0 C、x=0', 'A'),
]  # fmt: skip
TRUTH = [
  ('True or false: every prime is odd.', 'False'),
  ('Is 91 a prime number?', 'No'),
  ('Is 97 prime?', '\\text{yes}'),
  ('Every square is a rectangle. True or false?', 'T'),
  ('Determine whether the claim "1 = 0.999..." is true or false.', 'it is'),
  ('判断对错：1 是质数。', '错'),
  ('0 是偶数，这个说法正确吗？', '是'),
]  # fmt: skip
PROOF = [
  ('Prove that $\\sqrt2$ is irrational.', ''),
  ('Let $n$ be odd. Show that $n^2-1$ is divisible by 8.', 'see solution'),
  ('Let $a>b$. Then prove the inequality $a^2+b^2\\ge 2ab$.', 'proof'),
  ('(a) Prove that $f$ is linear.', 'n/a'),
  ('Use induction to show that the sum is $n(n+1)/2$.', ''),
  ('Prove or disprove: every continuous function is differentiable.', ''),
  ('Give a combinatorial proof of the identity.', ''),
  ('设 a>b>0，求证：a^2>b^2。', ''),
  ('已知 n 为奇数，证明 n^2-1 能被 8 整除。', ''),
]  # fmt: skip
FAIR = [
  'Compute $P(A)$, $P(B)$, $P(C)$ and $P(D)$, and give their sum.',
  'Triangle with A(0,0), B(1,2), C(3,4), D(5,6). Find its area.',
  'How many satisfy: (A) the first is 1, (B) the last is 2, (C) it is even?',
  '(a) Find $x$. (b) Find $y$. (c) Find $z$. Give $x+y+z$.',
  'None of the first four letters is an $A$. None of the next is a $B$. None'
  ' of the last six letters is a $C$. Find the number of strings.',
  '[asy] label("(A)",(0,0)); label("(B)",(1,0)); label("(C)",(1,1));'
  ' label("(D)",(0,1)); [/asy] Find the area of the square.',
  'How many of the following are prime: 2, 3, 4?',
  'Each of the following holds: $a=1$, $b=2$. Find $a+b$.',
  'In how many ways can ten true or false questions be answered?',
  'For which $x$ is the statement $2x=4$ true?',
  'A jury must say whether 3 claims are true or false: how many outcomes?',
  'Prove, the dog of Mrs. Prover, improved by 3 points a day. How many points'
  ' in 5 days?',
  'It can be shown that $f$ has one root. What is it?',
  'Tim wants to prove that he is fast: he runs 5 miles in an hour. How long do'
  ' 10 miles take?',
  'Their results show that the colony doubled twice and has 8 members now. How'
  ' many were there at first?',
  'The letter of the law has 14 words. How many letters have 2 such laws?',
  '他有 3 份身份证明文件，每份 2 页，一共多少页？',
]  # fmt: skip


def _kind(prompt, answer):
  finding = labels.question_type(Problem('p', prompt, answer))
  return finding and finding.kind


@pytest.mark.parametrize(('prompt', 'answer'), CHOICE)
def test_multiple_choice(prompt, answer):
  assert _kind(prompt, answer) == 'multiple choice'


@pytest.mark.parametrize(('prompt', 'answer'), TRUTH)
def test_true_false(prompt, answer):
  assert _kind(prompt, answer) == 'true/false'


@pytest.mark.parametrize(('prompt', 'answer'), PROOF)
def test_proof(prompt, answer):
  assert _kind(prompt, answer) == 'proof'


@pytest.mark.parametrize('prompt', FAIR)
def test_fair_questions_stay(prompt):
  assert _kind(prompt, '42') is None


def test_a_proof_that_also_asks_for_a_value_can_be_judged():
  prompt = 'Prove that $f$ is linear, and find $f(3)$.'
  assert _kind(prompt, '7') is None
  assert _kind(prompt, '') == 'proof'  # Without a value there is nothing.


def test_the_evidence_is_what_was_seen():
  finding = labels.question_type(
    Problem('p', 'Which one of these? (A) 1 (B) 2 (C) 3 (D) 4 (E) 5', 'C')
  )
  assert finding.evidence == 'options A to E'
  finding = labels.question_type(Problem('p', 'Is 7 prime?', 'Yes.'))
  assert finding.evidence == "the answer is 'Yes.'"


def test_options_need_one_style_and_order():
  assert labels.options('(A) x (B) y (C) z') == 'ABC'
  assert labels.options('(B) x (A) y (C) z') == ''
  assert labels.options('(A) x (B) y') == ''
  assert labels.options('(A) x B. y (C) z') == ''


@pytest.mark.parametrize(
  ('prompt', 'tag'),
  [
    ('What is the remainder when $7^{100}$ is divided by 13?', 'number theory'),
    ('In how many ways can 3 cards be chosen at random?', 'counting &'),
    ('A circle has radius 3. What is its area?', 'geometry'),
    ('Compute $\\sin 30^\\circ + \\cos 60^\\circ$.', 'precalculus'),
    ('Find the derivative of $x^2$.', 'calculus'),
    ('Solve the equation $x^2 - 5x + 6 = 0$.', 'algebra'),
    ('She buys 3 pens for 2 dollars each. How much is left?', 'word problems'),
    ('求三角形 ABC 的面积。', 'geometry'),
  ],
)
def test_disciplines_of_mathematics(prompt, tag):
  domain, discipline = labels.by_rules(prompt)
  assert domain == 'mathematics' and discipline.startswith(tag)


@pytest.mark.parametrize(
  ('prompt', 'domain'),
  [
    ('A force of 5 N accelerates a mass of 2 kg. Friction is 1 N.', 'physics'),
    ('How many moles of acid react in this reaction?', 'chemistry'),
    ('Which allele does the DNA of the gene show?', 'biology'),
    ('Write a function in Python. assert f(1) == 2', 'coding'),
    ('Of knights and knaves, knaves always lie. Who is the knave?', 'logic'),
    ('Who wrote the Iliad?', 'general reasoning'),
    ('12 oranges', 'mathematics'),
  ],
)
def test_domains(prompt, domain):
  assert labels.by_rules(prompt)[0] == domain


def test_a_model_is_asked_with_the_known_names():
  asked = labels.question('What is 2+2?')
  assert 'physics' in asked and 'number theory' in asked
  assert asked.endswith('Problem: What is 2+2?\nAnswer:')


@pytest.mark.parametrize(
  ('text', 'tag'),
  [
    ('mathematics / algebra', ('mathematics', 'algebra')),
    (' **Physics / Optics**.\nBecause ...', ('physics', 'optics')),
    ('Sure!\ncoding / strings', ('coding', 'strings')),
    ('astrology / stars', None),
    ('mathematics', None),
    ('', None),
  ],
)
def test_what_a_model_says_is_read_or_refused(text, tag):
  assert labels.read_tag(text) == tag
