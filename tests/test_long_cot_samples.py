"""Nothing unverified is kept, nothing is asked twice, all of it is counted."""

import json
from concurrent import futures

import pytest

from k15 import draw
from k15 import long_cot_samples
from k15.asks import Written
from k15.data_types import Problem, StopReason
from k15.journal import Journal
from k15.rewards.verdict import Verdict
from k15.task import Task
from k15.tokenizer import ByteTokenizer

PROBLEMS = [Problem(str(i), f'{i}+1?', str(i + 1)) for i in range(5)]
ALL_FOUR = 'My plan. Let me check. Wait, alternatively: '
ASKING = long_cot_samples.Asking(
  prompt='plain',
  samples=4,
  most_per_problem=2,
  least_processes=4,
  call_size=2,
)
TASK = Task(ByteTokenizer(()), '', [], [], [])
FACTS = dict(model='m', max_length=9, temperature=1.0)


def _judge(ask, text, stop):
  if not long_cot_samples.is_finished(text, stop):
    return None
  assert ask.problem.prompt in ask.question
  future = futures.Future()
  right = text.split()[-1] == ask.problem.answer
  future.set_result(Verdict('correct' if right else 'wrong'))
  return future


class Model:
  """Problem 0 right at once; 1 wrong at first; 2 without reflection; 3 does
  not finish; 4 always says the same."""

  def __init__(self, dies_after=None):
    self.prompts, self.dies = [], dies_after

  def __call__(self, asks):
    for ask in asks:
      if len(self.prompts) == self.dies:
        raise KeyboardInterrupt
      self.prompts.append(ask.question)
      i = int(ask.problem.id)
      stop = StopReason.MAX_LENGTH if i == 3 else StopReason.EOS
      yield ask, Written(self._answer(i), stop)

  def _answer(self, i):
    n = sum(prompt[0] == str(i) for prompt in self.prompts)
    return {
      0: f'{ALL_FOUR}({n}) 1',
      1: f'{ALL_FOUR}({n}) {2 if n > 2 else 9}',
      2: f'My plan. Let me check. Alternatively: ({n}) 3',
      3: f'{ALL_FOUR}4',
      4: f'{ALL_FOUR}5',
    }[i]


def _sample(path, model, asking=ASKING, problems=PROBLEMS, sizes=None):
  journal = Journal(path)

  def draw_call(call, asked, turn):
    asks = long_cot_samples.asks_of(
      call, asked, turn, asking, TASK, FACTS, lambda problem: 'judge'
    )
    assert draw.draw(asks, model, _judge, journal, 'test')
    if sizes is not None:
      sizes.append(len(asks))
    return long_cot_samples.records_of(asks, journal, turn)

  return long_cot_samples.sample(problems, draw_call, asking)


def test_only_what_is_right_and_shows_all_four_is_kept(tmp_path):
  records = _sample(tmp_path / 'samples.jsonl', Model())
  kept = long_cot_samples.kept_of(records, ASKING)
  # Problem 0 is done after two turns; 1 is right from the third on; 3 would be
  # right but is not finished; 4 says one thing, which counts once.
  names = [(r['problem_id'], r['sample']) for r in kept]
  assert sorted(names) == [('0', 0), ('0', 1), ('1', 2), ('1', 3), ('4', 0)]
  assert all(r['verdict'] == 'correct' for r in kept)
  assert all(len(r['processes']) == 4 for r in kept)
  assert sum(r['problem_id'] == '0' for r in records) == 2


def test_the_funnel_by_hand(tmp_path):
  records = _sample(tmp_path / 'samples.jsonl', Model())
  funnel = long_cot_samples.funnel_of(5, records, ASKING)
  examples = funnel.pop('examples')
  # Twice problem 0, four times each of the others; of 1 the last two right.
  assert funnel == dict(
    problems=5,
    sampled=18,
    finished=14,
    correct=12,
    correct_showing=dict(
      planning=12, evaluation=12, reflection=8, exploration=12
    ),
    correct_with_processes=8,
    kept=5,
    problems_with_examples=3,
  )
  assert set(examples) == {
    'kept', 'unfinished', 'wrong', 'correct_without_reflection'
  }  # fmt: skip
  assert examples['wrong']['response'].endswith(' 9')
  assert json.dumps(funnel)


@pytest.mark.parametrize('responses', [1, 2, 5, 8])
def test_what_was_asked_is_not_asked_again(tmp_path, responses):
  """Killed between two calls, and in the middle of one."""
  path = tmp_path / 'samples.jsonl'
  whole = Model()
  expected = _sample(tmp_path / 'whole.jsonl', whole)
  first = Model(dies_after=responses)
  with pytest.raises(KeyboardInterrupt):
    _sample(path, first)
  with open(path, 'ab') as file:
    file.write(b'{"key": "torn')
  second = Model()
  second.prompts = list(first.prompts)  # It is the model that counts turns.
  assert _sample(path, second) == expected
  assert second.prompts == whole.prompts
  third = Model()
  assert _sample(path, third) == expected
  assert not third.prompts


def test_other_problems_alone_are_counted(tmp_path):
  """What is there of others is left alone; ids and prompts that are the same
  have the same response."""
  path = tmp_path / 'samples.jsonl'
  _sample(path, Model())
  model = Model()
  records = _sample(path, model, problems=PROBLEMS[1:])
  own = _sample(tmp_path / 'own.jsonl', Model(), problems=PROBLEMS[1:])
  names = [(r['problem_id'], r['sample'], r['verdict']) for r in records]
  assert names == [(r['problem_id'], r['sample'], r['verdict']) for r in own]
  assert len(records) == 16 and 8 < len(model.prompts) < 16


def test_random_ids_are_calls_and_places():
  asks = long_cot_samples.asks_of(
    3, PROBLEMS[1:3], 2, ASKING, TASK, FACTS, lambda problem: problem.answer
  )
  first = long_cot_samples.streams.IDS['texts'].start
  assert [(ask.group_id, ask.sample) for ask in asks] == [
    (first, 3), (first + 1, 3)
  ]  # fmt: skip
  assert [ask.judge for ask in asks] == ['2', '3']


def test_engineered_prompts_hold_the_problem(tmp_path):
  asking = long_cot_samples.Asking('engineered', 1, 1, 0, 5)
  seen = []

  def model(asks):
    for ask in asks:
      seen.append(ask.question)
      yield ask, Written('no', StopReason.EOS)

  records = _sample(tmp_path / 'samples.jsonl', model, asking)
  assert [p.prompt in prompt for p, prompt in zip(PROBLEMS, seen, strict=True)]
  assert all('plan' in prompt.lower() for prompt in seen)
  assert {r['verdict'] for r in records} == {'wrong'}
  assert not long_cot_samples.kept_of(records, asking)


def test_calls_of_a_size(tmp_path):
  sizes = []
  _sample(tmp_path / 'samples.jsonl', Model(), sizes=sizes)
  # Three calls of five problems, twice; then of the four that are left... two.
  assert sizes == [2, 2, 1, 2, 2, 1, 2, 2, 2, 2]
