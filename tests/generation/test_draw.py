"""The loop: nothing is drawn or judged twice, whatever ends it."""

import collections
import dataclasses
from concurrent.futures import Future

import numpy as np
import pytest

from k15 import files
from k15.data_types import Problem, StopReason
from k15.generation import asks as asks_lib
from k15.generation import draw
from k15.generation.asks import Written
from k15.generation.journal import Journal
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.stages.prompt_set import curation_steps

PROBLEMS = [Problem(f'p{i}', f'{i}+1?', str(i + 1), 'd') for i in range(4)]


def _judge_of(problem):
  return asks_lib.digest('exact', problem.answer)


def _asks(problems=PROBLEMS, samples=3, model='m', seed=0, suffix='\n'):
  form = suffix, '# ', 5
  return curation_steps.asks_of(
    problems, form, samples, 1.0, model, seed, _judge_of
  )


class Writer:
  """Counts what it writes; breaks after so many."""

  def __init__(self, breaks_after=1000, stop=StopReason.EOS):
    self.drawn, self.closed = collections.Counter(), False
    self._left, self._stop = breaks_after, stop

  def __call__(self, asks):
    try:
      for ask in asks:
        if not self._left:
          raise ConnectionError('gone')
        self._left -= 1
        self.drawn[ask.name] += 1
        yield ask, Written(f'{ask.problem.answer}/{ask.sample}', self._stop, 2)
    finally:
      self.closed = True


class Judge:
  """Right are first samples; the third is an error.  It keeps a list."""

  def __init__(self):
    self.judged = []

  def __call__(self, ask, text, stop):
    self.judged.append((ask.problem.id, text))
    future = Future()
    right = text == f'# {ask.problem.answer}/0'
    late = text.endswith('/2')
    kind = 'correct' if right else 'wrong'
    verdict = Verdict('error', 'timeout') if late else Verdict(kind)
    future.set_result(scoring.settle(verdict, stop))
    return future


def _draw(asks, journal, writer=None, judge=None, **arguments):
  """How many were drawn."""
  writer = writer or Writer()
  assert draw.draw(asks, writer, judge or Judge(), journal, 'test', **arguments)
  return writer.drawn.total()


def _accuracies(asks, journal):
  return [journal.verdict(ask)['accuracy'] for ask in asks]


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
    _draw(asks, Journal(path), writer)
  with open(path, 'ab') as file:
    file.write(b'{"key": "torn off by the k')
  again = Writer()
  assert _draw(asks, Journal(path), again) == 5
  total = writer.drawn + again.drawn
  assert len(total) == 12 and set(total.values()) == {1}
  journal = Journal(path)
  assert [journal.response(ask).text for ask in asks] == [
    f'{ask.problem.answer}/{ask.sample}' for ask in asks
  ]
  assert draw.is_done(asks, journal)
  assert _draw(asks, journal, Writer(0)) == 0


def test_more_samples_draw_only_the_new_ones(tmp_path):
  journal = Journal(tmp_path / 'samples.jsonl')
  assert _draw(_asks(samples=3), journal) == 12
  assert not draw.is_done(_asks(samples=5), journal)
  assert _draw(_asks(samples=5), journal) == 8
  assert _draw(_asks(samples=2), journal) == 0
  assert _draw(_asks(samples=1, model='n'), journal) == 4


def test_equal_prompts_are_drawn_once_and_judged_for_each():
  twice = [PROBLEMS[0], Problem('copy', PROBLEMS[0].prompt, '7')]
  journal, judge, told = Journal(), Judge(), []
  assert _draw(_asks(twice), journal, judge=judge, progress=told.append) == 3
  assert len(judge.judged) == 6 and sum(told) == 6
  assert _accuracies(_asks(twice), journal) == [1, 0, 0, 0, 0, 0]


def test_responses_are_on_disk_before_the_next(tmp_path):
  path, seen = tmp_path / 'samples.jsonl', []

  def progress(count):
    lines = [x for x in files.read_jsonl(path) if 'text' in x]
    seen.append((count, len(lines)))

  _draw(_asks(), Journal(path), progress=progress)
  assert seen == [(0, 0), *((1, i) for i in range(1, 13))]


def test_verdicts_are_kept_and_a_timeout_is_wrong(tmp_path):
  path, asks, judge = tmp_path / 'samples.jsonl', _asks(), Judge()
  journal = Journal(path)
  _draw(asks, journal, judge=judge)
  assert _accuracies(asks, journal) == [1, 0, 0] * 4
  assert len(judge.judged) == 12 and judge.judged[0] == ('p0', '# 1/0')
  again = Journal(path)
  _draw(asks, again, judge=judge)
  assert len(judge.judged) == 12
  assert _accuracies(asks, again) == [1, 0, 0] * 4


def test_a_mended_reference_is_judged_again_without_drawing():
  journal, judge = Journal(), Judge()
  _draw(_asks(), journal, judge=judge)
  mended = _asks([Problem('p0', '0+1?', '5', 'd')])
  assert _draw(mended, journal, Writer(0), judge) == 0
  assert len(judge.judged) == 15
  assert _accuracies(mended, journal) == [0, 0, 0]


def test_nothing_to_judge_is_no_verdict():
  journal, asks = Journal(), _asks()
  assert _draw(asks, journal, judge=lambda *_: None) == 12
  assert not any(map(journal.verdict, asks))
  assert all(map(journal.response, asks))


def test_no_problems_nothing_drawn():
  assert _draw([], Journal()) == 0 and draw.is_done([], Journal())


@pytest.mark.parametrize('after', [1, 5, 12, 17])
def test_asked_to_stop_it_keeps_what_it_has(tmp_path, after):
  """Twelve responses, then the verdicts that are waited for."""
  path, asks, calls = tmp_path / 'samples.jsonl', _asks(), []
  writer, judge = Writer(), Judge()

  def stop():
    calls.append(1)
    return len(calls) == after

  assert not draw.draw(asks, writer, judge, Journal(path), 'test', stop)
  assert writer.closed and writer.drawn.total() == min(after, 12)
  again = Writer()
  assert _draw(asks, Journal(path), again, judge) == 12 - min(after, 12)
  # Verdicts that were there are taken in before it stops.
  assert len(judge.judged) == 12
  assert _accuracies(asks, Journal(path)) == [1, 0, 0] * 4


def test_a_writer_is_closed_however_it_ends():
  def breaks(*_):
    raise ZeroDivisionError

  writer = Writer()
  with pytest.raises(ZeroDivisionError):
    _draw(_asks(), Journal(), writer, breaks)
  assert writer.closed


@pytest.mark.parametrize('p', [0.1, 0.5, 0.9])
def test_pass_rates_of_a_known_policy(p):
  rng = np.random.default_rng(1)
  problems = [Problem(str(i), f'{i}?', 'yes') for i in range(60)]

  def write(asks):
    for ask in asks:
      text = 'yes/0' if rng.random() < p else 'no'
      yield ask, Written(text, StopReason.EOS)

  asks = _asks(problems, 10)
  journal = Journal()
  assert draw.draw(asks, write, Judge(), journal, 'test')
  rates = np.reshape(_accuracies(asks, journal), (60, 10)).mean(axis=1)
  # 600 draws: four standard errors of the mean.
  assert abs(rates.mean() - p) < 4 * (p * (1 - p) / 600) ** 0.5
  # Of single problems, the spread of ten draws.
  assert abs(rates.std() - (p * (1 - p) / 10) ** 0.5) < 0.05


def test_the_judge_is_told_how_a_response_stopped(tmp_path):
  """What was cut is wrong, unless who asks says that it has ended."""
  path, asks, judge = tmp_path / 'samples.jsonl', _asks(), Judge()
  _draw(asks, Journal(path), Writer(stop=StopReason.MAX_LENGTH), judge)
  journal = Journal(path)
  stops = {journal.response(ask).stop for ask in asks}
  assert stops == {StopReason.MAX_LENGTH}
  assert not any(_accuracies(asks, journal))
  guesses = [dataclasses.replace(ask, judge='guess') for ask in asks]
  ended = lambda ask, text, _: judge(ask, text, StopReason.EOS)  # noqa: E731
  assert _draw(guesses, journal, Writer(0), ended) == 0
  assert _accuracies(guesses, journal) == [1, 0, 0] * 4


def test_errors_alone_are_not_kept(tmp_path):
  """A judge that is down says nothing, today and to later runs."""
  path, asks = tmp_path / 'samples.jsonl', _asks()

  def down(ask, text, stop):
    future = Future()
    future.set_result(Verdict('error', 'service: away'))
    return future

  with pytest.raises(
    scoring.Failed, match="test: all 12 verdicts are.*'service: away'"
  ):
    _draw(asks, Journal(path), judge=down)
  judge, journal = Judge(), Journal(path)
  assert _draw(asks, journal, Writer(0), judge) == 0
  assert len(judge.judged) == 12 and sum(_accuracies(asks, journal)) == 4
  # Of a judge that has judged, a few errors say nothing.
  more = _asks(samples=4)
  assert _draw(more, journal, judge=down) == 4
  assert journal.verdict(more[3])['verdict'] == 'error'
