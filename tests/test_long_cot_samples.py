"""Nothing unverified is kept, nothing is asked twice, all of it is counted."""

import contextlib
import json
from concurrent import futures

import pytest

from k15 import conversations
from k15 import long_cot_samples
from k15.data_types import Problem
from k15.rewards.verdict import Verdict

PROBLEMS = [Problem(str(i), f'{i}+1?', str(i + 1)) for i in range(5)]
ALL_FOUR = 'My plan. Let me check. Wait, alternatively: '
ASKING = long_cot_samples.Asking(
  prompt='plain',
  samples=4,
  most_per_problem=2,
  least_processes=4,
  call_size=2,
)


def _submit(problem, prompt, response):
  assert problem.prompt in prompt
  future = futures.Future()
  right = response.split()[-1] == problem.answer
  future.set_result(Verdict('correct' if right else 'wrong'))
  return future


class Model:
  """Problem 0 right at once; 1 wrong at first; 2 without reflection; 3 does
  not finish; 4 always says the same."""

  def __init__(self, dies_in_call=None):
    self.prompts, self.calls, self.dies = [], 0, dies_in_call
    self.entered = []

  @contextlib.contextmanager
  def __call__(self, first_call):
    self.entered.append(first_call)
    self.calls = first_call
    yield self.generate

  def generate(self, prompts):
    if self.calls == self.dies:
      raise KeyboardInterrupt
    self.prompts += prompts
    self.calls += 1
    return [self._answer(int(prompt[0])) for prompt in prompts]

  def _answer(self, i):
    n = sum(prompt[0] == str(i) for prompt in self.prompts)
    return {
      0: f'{ALL_FOUR}({n}) 1',
      1: f'{ALL_FOUR}({n}) {2 if n > 2 else 9}',
      2: f'My plan. Let me check. Alternatively: ({n}) 3',
      3: '',
      4: f'{ALL_FOUR}5',
    }[i]


def _sample(path, model, asking=ASKING, **arguments):
  return long_cot_samples.sample(
    PROBLEMS, model, _submit, asking, path, **arguments
  )


def test_only_what_is_right_and_shows_all_four_is_kept(tmp_path):
  records = _sample(tmp_path / 'samples.jsonl', Model())
  kept = long_cot_samples.kept_of(records, ASKING)
  # Problem 0 is done after two turns; 1 is right from the third on; 4 says one
  # thing, which counts once.
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


@pytest.mark.parametrize('call', [1, 3, 4])
def test_what_was_asked_is_not_asked_again(tmp_path, call):
  path = tmp_path / 'samples.jsonl'
  whole = Model()
  expected = _sample(tmp_path / 'whole.jsonl', whole)
  first = Model(dies_in_call=call)
  with pytest.raises(KeyboardInterrupt):
    _sample(path, first)
  second = Model()
  second.prompts = list(first.prompts)  # It is the model that counts turns.
  assert _sample(path, second) == expected
  assert second.prompts == whole.prompts
  assert second.entered == [call]
  assert path.read_bytes() == (tmp_path / 'whole.jsonl').read_bytes()
  third = Model()
  assert _sample(path, third) == expected
  assert not third.prompts and not third.entered


def test_half_a_call_on_disk_is_taken_back(tmp_path):
  path = tmp_path / 'samples.jsonl'
  expected = _sample(path, Model())
  lines = path.read_text().splitlines(keepends=True)
  path.write_text(''.join(lines[:3]) + lines[3][:20])  # of calls of 2
  model = Model()
  model.prompts = ['0+1?', '1+1?']
  assert _sample(path, model) == expected
  assert model.entered == [1]


def test_other_problems_are_refused(tmp_path):
  path = tmp_path / 'samples.jsonl'
  _sample(path, Model())
  with pytest.raises(conversations.DataError, match='made from other problems'):
    long_cot_samples.sample(PROBLEMS[1:], Model(), _submit, ASKING, path)


def test_engineered_prompts_hold_the_problem(tmp_path):
  asking = long_cot_samples.Asking('engineered', 1, 1, 0, 5)
  seen = []

  @contextlib.contextmanager
  def model(first_call):
    yield lambda prompts: seen.extend(prompts) or ['no'] * len(prompts)

  records = _sample(tmp_path / 'samples.jsonl', model, asking)
  assert [p.prompt in prompt for p, prompt in zip(PROBLEMS, seen, strict=True)]
  assert all('plan' in prompt.lower() for prompt in seen)
  assert {r['verdict'] for r in records} == {'wrong'}
  assert not long_cot_samples.kept_of(records, asking)


def test_each_call_is_told(tmp_path):
  sizes = []
  _sample(
    tmp_path / 'samples.jsonl', Model(), on_call=lambda c: sizes.append(len(c))
  )
  # Three calls of five problems, twice; then of the four that are left... two.
  assert sizes == [2, 2, 1, 2, 2, 1, 2, 2, 2, 2]
