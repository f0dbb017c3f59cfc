"""Responses in a file: judged, resumed, and never sampled twice."""

import dataclasses

import numpy as np
import pytest
import small_run

from k15 import files
from k15.checkpoints import models
from k15.data import conversations
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.runtime import weights
from k15.stages import collection


class _Judge:
  """Right are responses of an even number of tokens."""

  def __call__(self, response, reference):
    return Verdict('correct' if len(response) % 2 == 0 else 'wrong')


def _context(folder, **changes):
  context = small_run.make_context(folder, **changes)
  context.scorer._judges['exact_answer'] = _Judge()
  return context


def _plain(collected):
  return [
    (problem.id, [(r.tokens.tolist(), r.is_correct) for r in sampled])
    for problem, sampled in collected
  ]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Three responses to each of five problems: the context and what came."""
  context = _context(tmp_path_factory.mktemp('responses'))
  return context, collection.collect(context, None, 5, 3)


def _lines(context):
  return _written(context.workdir / 'responses.jsonl')


def _written(path):
  """Lines of responses; the others are verdicts."""
  return [line for line in files.read_jsonl(path) if 'text' in line]


def _verdicts(path):
  return [line for line in files.read_jsonl(path) if 'judge' in line]


def test_what_comes(whole):
  context, collected = whole
  assert [p.id for p, _ in collected] == [p.id for p in context.task.train[:5]]
  assert all(len(sampled) == 3 for _, sampled in collected)
  lines = {(x['problem_id'], x['sample']): x for x in _lines(context)}
  assert len(lines) == 15
  for problem, sampled in collected:
    for i, response in enumerate(sampled):
      line = lines[problem.id, i]
      assert line['tokens'] == response.tokens.tolist()
      ended = line['stop'] == 'eos'
      right = len(line['text']) % 2 == 0
      assert response.is_correct == (ended and right)


def test_a_second_call_reads_the_file(whole, monkeypatch):
  context, collected = whole
  monkeypatch.setattr(rollouts, 'make_rollout', None)
  assert _plain(collection.collect(context, None, 5, 3)) == _plain(collected)
  # Fewer problems and samples are in it too.
  fewer = [(name, r[:2]) for name, r in _plain(collected)[:4]]
  assert _plain(collection.collect(context, None, 4, 2)) == fewer


def test_a_sampling_that_was_cut_goes_on(whole, tmp_path):
  """In the middle of a line, as a crash leaves it."""
  context, collected = whole
  again = _context(tmp_path)
  text = (context.workdir / 'responses.jsonl').read_text()
  lines = text.splitlines(keepends=True)
  (again.workdir / 'responses.jsonl').write_text(
    ''.join(lines[:6]) + lines[6][:20]
  )
  assert _plain(collection.collect(again, None, 5, 3)) == _plain(collected)
  assert len(_lines(again)) == 15


def test_a_request_to_stop_keeps_what_was_judged(whole, tmp_path):
  context = _context(tmp_path)
  context.stop.set()
  with pytest.raises(
    context_lib.Interrupted, match='what was sampled is saved'
  ):
    collection.collect(context, None, 5, 3)
  before = len(_lines(context))
  assert 1 <= before < 15
  context.stop.clear()
  assert _plain(collection.collect(context, None, 5, 3)) == _plain(whole[1])
  assert len(_lines(context)) == 15


def test_a_file_may_hold_responses_of_several_models(whole, tmp_path):
  path = tmp_path / 'shared' / 'file.jsonl'
  other = _context(tmp_path, long2short__responses=str(path))
  model = tmp_path / 'model'
  models.save(
    model, other.shape, weights.init_params(other.layout, 1),
    other.task.tokenizer, 32, models.Origin('rl', 1, 1), None,
  )  # fmt: skip
  of_model = _plain(collection.collect(other, model, 5, 3))
  assert len(_written(path)) == 15
  assert _plain(collection.collect(other, None, 5, 3)) == _plain(whole[1])
  assert len(_written(path)) == 30 and of_model != _plain(whole[1])
  assert _plain(collection.collect(other, model, 5, 3)) == of_model
  assert len(_written(path)) == 30
  assert not (other.workdir / 'responses.jsonl').exists()


@pytest.mark.parametrize(
  'changes',
  [
    dict(task__prompt_suffix=' Think.'),
    dict(rollout__repetition_count=3),
    dict(rollout__max_length=15, rollout__token_budget=5),
    dict(rollout__dtype='bfloat16'),
    dict(seed=1),
  ],
  ids=lambda changes: next(iter(changes)),
)
def test_responses_to_what_was_asked_otherwise_do_not_count(
  whole, tmp_path, changes
):
  path = tmp_path / 'file.jsonl'
  path.write_bytes((whole[0].workdir / 'responses.jsonl').read_bytes())
  changes = dict(rollout__max_prompt_length=24) | changes
  other = _context(tmp_path, long2short__responses=str(path), **changes)
  collection.collect(other, None, 2, 2)
  assert len(_written(path)) == 15 + 4


def test_another_judge_judges_again_and_nothing_is_sampled(
  whole, tmp_path, monkeypatch
):
  """Another reference or another reward: what was right may be wrong."""
  path = tmp_path / 'file.jsonl'
  shared = whole[0].workdir / 'responses.jsonl'
  for line in files.read_jsonl(shared):
    right = dict(accuracy=1.0, reward=1.0) if 'judge' in line else {}
    files.append_jsonl(path, [line | right])
  monkeypatch.setattr(rollouts, 'make_rollout', None)
  same = _context(tmp_path, long2short__responses=str(path))
  assert (
    collection.accuracy_and_tokens(collection.collect(same, None, 5, 3))[0] == 1
  )
  other = _context(
    tmp_path, long2short__responses=str(path), task__answer_marker='Answer:'
  )
  assert _plain(collection.collect(other, None, 5, 3)) == _plain(whole[1])
  assert (len(_written(path)), len(_verdicts(path))) == (15, 30)
  # The last verdict counts, and it is that of this judge.
  assert _plain(collection.collect(other, None, 5, 3)) == _plain(whole[1])
  assert len(_verdicts(path)) == 30


def test_a_mended_reference_is_judged_again(whole, tmp_path, monkeypatch):
  path = tmp_path / 'file.jsonl'
  path.write_bytes((whole[0].workdir / 'responses.jsonl').read_bytes())
  monkeypatch.setattr(rollouts, 'make_rollout', None)
  context = _context(tmp_path, long2short__responses=str(path))
  problem = context.task.train[1]
  context.task.train[1] = dataclasses.replace(problem, answer='another')
  collection.collect(context, None, 5, 3)
  added = files.read_jsonl(path)[30:]
  names = [(x['key'], x['sample']) for x in added if 'judge' in x]
  assert len(added) == 3 and names == [
    (x['key'], x['sample'])
    for x in sorted(_written(path), key=lambda x: x['sample'])
    if x['problem_id'] == problem.id
  ]


def test_a_file_of_an_earlier_version_is_refused(tmp_path):
  path = tmp_path / 'file.jsonl'
  files.append_jsonl(path, [dict(model='', problem_id='p', sample=0)])
  context = _context(tmp_path, long2short__responses=str(path))
  with pytest.raises(conversations.DataError, match='file.jsonl: .* move the'):
    collection.collect(context, None, 5, 3)


def test_verdicts_of_a_judge_that_is_down_are_not_kept(whole, tmp_path):
  context = _context(tmp_path)
  context.scorer._judges['exact_answer'] = lambda *_: Verdict('error', 'away')
  with pytest.raises(scoring.Failed, match="responses: all 15 .*'away'"):
    collection.collect(context, None, 5, 3)
  assert not _verdicts(context.workdir / 'responses.jsonl')
  context.scorer._judges['exact_answer'] = _Judge()
  assert _plain(collection.collect(context, None, 5, 3)) == _plain(whole[1])
  assert len(_lines(context)) == 15  # Nothing was sampled again.


def test_accuracy_and_tokens():
  def response(length, is_correct):
    return collection.Response(np.zeros(length, np.int32), is_correct)

  collected = [
    (None, [response(10, True), response(20, False)]),
    (None, [response(30, True), response(40, True)]),
  ]
  assert collection.accuracy_and_tokens(collected) == (0.75, 25.0)
