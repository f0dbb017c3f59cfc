"""An evaluation on contest problems: votes by outputs, ratings, what is absent.

A script writes in place of the model; the sandbox runs what it writes.
"""

import contextlib
import json

import pytest
import small_run

from k15 import files
from k15.data.conversations import DataError
from k15.data_types import StopReason
from k15.generation.asks import Written
from k15.rewards.code import test_cases
from k15.runtime import responses
from k15.stages import answered_sets
from k15.stages import contest_scores
from k15.stages import evaluate

# Of each sample: twice right, once wrong, once without a program.  The text of
# all is different; what the first two print is not.
SAMPLES = (
  '```python\nprint(2 * int(input()))\n```',
  '```python\nn = int(input())\nprint(n + n)\n```',
  '```python\nprint(int(input()) ** 2)\n```',
  'Too hard.',
)
GENERATOR = '```python\nprint(int(input()) + 2)\n```'


def _problem(number, rating):
  return dict(
    id=f'{number}/A', description=f'Problem {number}: double it.',
    examples=[dict(input='2\n', output='4\n')], language='python',
    official_tests=[dict(input='5\n', output='10\n')], rating=rating,
  )  # fmt: skip


def _context(folder, rows, name='run', **changes):
  path = folder / 'cf.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  changes = dict(
    stages=('evaluate',), evaluation__sets=(f'cf:{path}',),
    evaluation__samples=4, evaluation__resamples=50,
    evaluation__vote_inputs=3, rollout__max_prompt_length=4096,
    reward__program_seconds=30.0,
  ) | changes  # fmt: skip
  return small_run.make_context(folder, name, **changes)


@pytest.fixture
def asked(monkeypatch, tmp_path):
  """What was asked of the script; it stands where a model would be."""
  pytest.importorskip('cyaron')
  seen = []

  @contextlib.contextmanager
  def by_model(context, source, stream):
    def write(asks):
      for ask in asks:
        seen.append(ask)
        is_input = ask.question.startswith(test_cases.USAGE)
        text = GENERATOR if is_input else SAMPLES[ask.sample]
        yield ask, Written(text, StopReason.EOS, len(text))

    yield write

  monkeypatch.setattr(responses, 'by_model', by_model)
  monkeypatch.setattr(evaluate.models, 'directory_of', lambda source: source)
  monkeypatch.setattr(
    answered_sets.fingerprints, 'of_model', lambda source: 'script'
  )
  return seen


def test_votes_by_outputs_beside_those_by_text(tmp_path, asked, capsys):
  context = _context(tmp_path, [_problem(1, 1000), _problem(2, 1400)])
  found = evaluate.run(context, tmp_path)['cf']
  assert found['pass@1']['value'] == 0.5
  # By text all three programs are different: a lot of two right ones in three.
  assert found['majority@4']['value'] == pytest.approx(2 / 3)
  vote = found['output_vote@4']
  assert (vote['value'], vote['ties'], vote['problems']) == (1.0, 0.0, 2)
  # Half of problems around 1200 are solved by whoever has 1200.
  assert found['rating']['pass@1']['value'] == pytest.approx(1200, abs=1e-6)
  assert found['rating']['output_vote']['is_bound']
  said = capsys.readouterr().out
  assert 'output_vote@4' in said and 'cf: Elo by pass@1: 1200 [' in said
  lines = files.read_jsonl(context.workdir / 'evaluation/cf.votes.jsonl')
  assert lines[0] == dict(
    problem_id='1/A', value=1.0, tie=False, right=[True, True, False, False],
    groups=[0, 0, 1, None], inputs=3, failed=0,
  )  # fmt: skip
  # Asked once: the same command again draws nothing.
  assert len(asked) == 2 * 4 + 2
  again = evaluate.run(context, tmp_path)
  assert len(asked) == 2 * 4 + 2 and again['cf'] == found


def test_without_votes_nothing_is_asked_for_them(tmp_path, asked):
  rows = [_problem(1, 1000), _problem(2, None)]
  context = _context(tmp_path, rows, evaluation__vote_inputs=0)
  found = evaluate.run(context, tmp_path)['cf']
  assert len(asked) == 2 * 4
  assert 'output_vote@4' not in found and 'rating' not in found


def test_a_prompt_that_is_too_long_is_said_before_it_is_asked(tmp_path, asked):
  changes = dict(rollout__max_prompt_length=400)
  context = _context(tmp_path, [_problem(1, 1000)], **changes)
  with pytest.raises(DataError, match='evaluation.vote_inputs: cf, inputs: 1 '):
    evaluate.run(context, tmp_path)


def test_absent_languages_are_in_the_results(tmp_path, asked, monkeypatch):
  context = _context(tmp_path, [_problem(1, 1000)], evaluation__vote_inputs=0)
  (found,) = context.task.sets
  object.__setattr__(found, 'absent', ('php',))
  assert evaluate.run(context, tmp_path)['cf']['absent'] == ['php']


def test_references_keep_one_test_of_each(tmp_path, asked):
  context = _context(tmp_path, [_problem(1, 1000)])
  asks = answered_sets.asks_of(context, context.task.sets, '', dict(
    temperature=1.0, max_length=9), 1)  # fmt: skip
  (wanted,) = contest_scores.references_of(asks)['cf'].values()
  assert (len(wanted.tests), wanted.rating) == (1, 1000)
