"""Tests of k15/pass_rates.py, and of asks.py: nothing is drawn twice."""

import collections
from concurrent.futures import Future

import numpy as np
import pytest

from k15 import asks as asks_lib
from k15 import files
from k15 import pass_rates
from k15.data_types import Problem, StopReason
from k15.rewards import scoring
from k15.rewards.verdict import Verdict

PROBLEMS = [Problem(f'p{i}', f'{i}+1?', str(i + 1), 'd') for i in range(4)]


def _asks(problems=PROBLEMS, samples=3, model='m', seed=0, suffix='\n'):
  return asks_lib.asks_of(problems, suffix, '# ', samples, 5, 1.0, model, seed)


class Writer:
  """Counts what it writes; breaks after so many."""

  def __init__(self, breaks_after=1000):
    self.drawn = collections.Counter()
    self._left = breaks_after

  def __call__(self, asks):
    for ask in asks:
      if not self._left:
        raise ConnectionError('gone')
      self._left -= 1
      self.drawn[ask.key, ask.sample] += 1
      text = f'{ask.problem.answer}/{ask.sample}'
      yield ask, text, 2, StopReason.EOS


def _submit(judged):
  def submit(ask, text, stop):
    judged.append((ask.problem.id, text))
    future = Future()
    right = text == f'# {ask.problem.answer}/0'
    kinds = {True: 'correct', False: 'wrong'}
    late = text.endswith('/2')
    verdict = Verdict('error', 'timeout') if late else Verdict(kinds[right])
    future.set_result(scoring.settle(verdict, stop))
    return future

  return submit


def _judge_of(problem):
  return asks_lib.digest('exact', problem.answer)


def test_keys_hold_all_that_decides_a_response():
  (base, *_) = _asks()
  others = [
    _asks(model='n')[0],
    _asks(seed=1)[0],
    _asks(suffix=' ')[0],
    _asks(PROBLEMS[1:])[0],
  ]
  assert len({ask.key for ask in [base, *others]}) == 5
  assert (base.question, base.prefix) == ('0+1?\n', '# ')
  assert _asks()[0].key == base.key
  # The answer does not decide what is written, and neither does the id.
  same = Problem('other', '0+1?', '77')
  assert _asks([same])[0].key == base.key


def test_a_killed_run_goes_on_and_draws_nothing_twice(tmp_path):
  path, asks = tmp_path / 'samples.jsonl', _asks()
  writer = Writer(breaks_after=7)
  with pytest.raises(ConnectionError):
    pass_rates.draw(asks, writer, pass_rates.Store(path))
  with open(path, 'ab') as file:
    file.write(b'{"key": "torn off by the k')
  again = Writer()
  assert pass_rates.draw(asks, again, pass_rates.Store(path)) == 5
  total = writer.drawn + again.drawn
  assert len(total) == 12 and set(total.values()) == {1}
  store = pass_rates.Store(path)
  assert [store.text(ask) for ask in asks] == [
    f'{ask.problem.answer}/{ask.sample}' for ask in asks
  ]
  assert pass_rates.draw(asks, Writer(0), store) == 0


def test_more_samples_draw_only_the_new_ones(tmp_path):
  store = pass_rates.Store(tmp_path / 'samples.jsonl')
  assert pass_rates.draw(_asks(samples=3), Writer(), store) == 12
  assert pass_rates.draw(_asks(samples=5), Writer(), store) == 8
  assert pass_rates.draw(_asks(samples=2), Writer(), store) == 0
  assert pass_rates.draw(_asks(samples=1, model='n'), Writer(), store) == 4


def test_equal_prompts_are_drawn_once(tmp_path):
  twice = [PROBLEMS[0], Problem('copy', PROBLEMS[0].prompt, '1')]
  store = pass_rates.Store(tmp_path / 'samples.jsonl')
  assert pass_rates.draw(_asks(twice), Writer(), store) == 3


def test_responses_are_on_disk_before_the_next(tmp_path):
  path, seen = tmp_path / 'samples.jsonl', []
  pass_rates.draw(
    _asks(),
    Writer(),
    pass_rates.Store(path),
    lambda: seen.append(len(files.read_jsonl(path))),
  )
  assert seen == list(range(1, 13))


def test_verdicts_are_kept_and_a_timeout_is_wrong(tmp_path):
  path, asks, judged = tmp_path / 'samples.jsonl', _asks(), []
  store = pass_rates.Store(path)
  pass_rates.draw(asks, Writer(), store)
  rewards = pass_rates.judge(asks, _submit(judged), _judge_of, store)
  assert rewards.reshape(4, 3).tolist() == [[1, 0, 0]] * 4
  assert len(judged) == 12 and judged[0] == ('p0', '# 1/0')
  again = pass_rates.judge(
    asks, _submit(judged), _judge_of, pass_rates.Store(path)
  )
  assert len(judged) == 12
  np.testing.assert_array_equal(again, rewards)


def test_a_mended_reference_is_judged_again_without_drawing(tmp_path):
  store, judged = pass_rates.Store(tmp_path / 'samples.jsonl'), []
  pass_rates.draw(_asks(), Writer(), store)
  pass_rates.judge(_asks(), _submit(judged), _judge_of, store)
  mended = [Problem('p0', '0+1?', '5', 'd')]
  assert pass_rates.draw(_asks(mended), Writer(0), store) == 0
  rewards = pass_rates.judge(_asks(mended), _submit(judged), _judge_of, store)
  assert len(judged) == 15 and rewards.tolist() == [0, 0, 0]


def test_no_problems_no_rewards(tmp_path):
  store = pass_rates.Store(tmp_path / 'samples.jsonl')
  assert pass_rates.draw([], Writer(), store) == 0
  assert pass_rates.judge([], _submit([]), _judge_of, store).shape == (0,)


def test_any_function_writes_in_batches():
  sizes = []

  def generate(prompts):
    sizes.append(len(prompts))
    return [prompt.upper() for prompt in prompts]

  respond = asks_lib.by_generate(generate, 5)
  found = list(respond(_asks()))
  assert sizes == [5, 5, 2]
  assert all(
    text == (ask.question + ask.prefix).upper() for ask, text, *_ in found
  )


@pytest.mark.parametrize('p', [0.1, 0.5, 0.9])
def test_pass_rates_of_a_known_policy(tmp_path, p):
  rng = np.random.default_rng(1)
  problems = [Problem(str(i), f'{i}?', 'yes') for i in range(60)]

  def generate(prompts):
    return ['yes/0' if rng.random() < p else 'no' for _ in prompts]

  asks = asks_lib.asks_of(problems, '', '# ', 10, 5, 1.0, 'm', 0)
  store = pass_rates.Store(tmp_path / 'samples.jsonl')
  pass_rates.draw(asks, asks_lib.by_generate(generate, 64), store)
  rewards = pass_rates.judge(asks, _submit([]), _judge_of, store)
  rates = rewards.reshape(60, 10).mean(axis=1)
  # 600 draws: four standard errors of the mean.
  assert abs(rates.mean() - p) < 4 * (p * (1 - p) / 600) ** 0.5
  # Of single problems, the spread of ten draws.
  assert abs(rates.std() - (p * (1 - p) / 10) ** 0.5) < 0.05


class Cut:
  """All that it writes is cut, right as it may be."""

  def __call__(self, asks):
    for ask in asks:
      yield ask, f'{ask.problem.answer}/0', 5, StopReason.MAX_LENGTH


def test_what_was_cut_is_wrong_unless_it_is_a_guess(tmp_path):
  path, asks = tmp_path / 'samples.jsonl', _asks()
  pass_rates.draw(asks, Cut(), pass_rates.Store(path))
  store, submit = pass_rates.Store(path), _submit([])
  assert {store.stop(ask) for ask in asks} == {StopReason.MAX_LENGTH}
  assert not pass_rates.judge(asks, submit, _judge_of, store).any()
  guesses = lambda problem: _judge_of(problem) + 'guess'  # noqa: E731
  right = pass_rates.judge(asks, submit, guesses, store, has_ended=True)
  assert right.all()


def test_lines_that_do_not_say_how_they_stopped_are_drawn_again(tmp_path):
  path, asks = tmp_path / 'samples.jsonl', _asks()
  pass_rates.draw(asks, Writer(), pass_rates.Store(path))
  lines = files.read_jsonl(path)
  for line in lines[:5]:
    del line['stop']
  path.write_text('')
  files.append_jsonl(path, lines)
  store = pass_rates.Store(path)
  assert pass_rates.draw(asks, Writer(), store) == 5
  assert pass_rates.draw(asks, Writer(0), pass_rates.Store(path)) == 0


def test_errors_alone_are_not_kept(tmp_path):
  """A judge that is down says nothing, today and to later runs."""
  path, asks = tmp_path / 'samples.jsonl', _asks()
  store = pass_rates.Store(path)
  pass_rates.draw(asks, Writer(), store)

  def down(ask, text, stop):
    future = Future()
    future.set_result(Verdict('error', 'service: away'))
    return future

  with pytest.raises(scoring.Failed, match="12 verdicts are.*'service: away'"):
    pass_rates.judge(asks, down, _judge_of, store)
  judged = []
  rewards = pass_rates.judge(
    asks, _submit(judged), _judge_of, pass_rates.Store(path)
  )
  assert len(judged) == 12 and rewards.sum() == 4


def test_a_text_that_is_not_finished_comes_empty():
  respond = asks_lib.by_generate(lambda prompts: ['', *prompts[1:]], 5)
  stops = [stop for *_, stop in respond(_asks()[:3])]
  assert stops == [StopReason.MAX_LENGTH, StopReason.EOS, StopReason.EOS]
