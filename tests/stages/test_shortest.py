"""SFT on the shortest correct responses."""

import numpy as np
import small_run

from k15 import files
from k15.stages import collection
from k15.stages import shortest

CHANGES = dict(
  stages=('shortest',),
  long2short__problems=5,
  long2short__samples=3,
  shortest__steps=3,
  shortest__batch_tokens=64,
  shortest__warmup_steps=1,
  shortest__log_every=1,
)


def _response(length, is_correct):
  return collection.Response(np.full(length, 65, np.int32), is_correct)


def _collected(context, model, num_problems, samples):
  """The first problem has no correct response; the others one of 4 tokens."""
  del model
  wrong = [_response(2, False)] * samples
  right = [_response(2, False), _response(6, True), _response(4, True)]
  problems = context.task.train[:num_problems]
  return [(p, right if i else wrong) for i, p in enumerate(problems)]


def test_it_learns_from_the_shortest_correct(tmp_path, monkeypatch):
  monkeypatch.setattr(collection, 'collect', _collected)
  context = small_run.make_context(tmp_path, **CHANGES)
  pairs, dropped = shortest._pairs(context, None)
  assert dropped == 1
  assert [len(pair.response) for pair in pairs] == [4] * 4
  np.testing.assert_array_equal(
    pairs[0][0], context.task.encode_prompt(context.task.train[1].prompt)
  )


def test_the_stage(tmp_path, monkeypatch):
  monkeypatch.setattr(collection, 'collect', _collected)
  context = small_run.make_context(tmp_path, **CHANGES)
  state = shortest.train(context, None)
  assert int(state.step) == 3
  rows = files.read_jsonl(context.workdir / 'metrics.jsonl')
  assert {row['stage'] for row in rows} == {'shortest'}
  assert rows[0]['sft/examples'] == 4
  assert rows[0]['sft/examples_dropped'] == 1
  assert rows[-1]['sft/loss'] < rows[1]['sft/loss']
