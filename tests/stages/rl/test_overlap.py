"""Sampling an iteration while the one before is trained on: `rl.overlap`.

The worker is one of this process, so that a run takes seconds; what runs beside
what, versions and checkpoints do not know.
"""

import threading

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15 import streams
from k15.rewards.verdict import Verdict
from k15.rollout import partial
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import rollouts
from k15.runtime import weights
from k15.serving import remote
from k15.serving import workers
from k15.stages.rl import loop
from k15.stages.rl import training_phase

CHANGES = dict(
  reward__cut_is_wrong=False,  # Random weights end hardly anything.
  loss__rollout_correction='truncate',
  rl__overlap=True,
  rl__iterations=4,
)


def _worker_of_this_process(patch):
  def make_rollout(context, stage, record=None, columns=0):
    layout = context.rollout_layout
    slots = rollouts.make_slots(
      context.config, layout, context.task.tokenizer, columns
    )
    worker = workers.LocalWorker(slots, layout.use_mesh)
    key = streams.key(context.config.seed, 'rollout', stage)
    return remote.RemoteRollout([worker], key, lambda request: None)

  patch.setattr(rollouts, 'make_rollout', make_rollout)

  def odd(response, reference):
    del reference
    return Verdict('correct' if len(response) % 2 else 'wrong')

  patch.setattr(
    judges, 'make_judges', lambda config, names, *_: dict.fromkeys(names, odd)
  )


@pytest.fixture(autouse=True)
def _patched(monkeypatch):
  _worker_of_this_process(monkeypatch)


def _context(folder, has_workers=True, **changes):
  names = ('127.0.0.1:1',) if has_workers else ()
  changes = CHANGES | dict(rollout__workers=names) | changes
  return small_run.make_context(folder, **changes)


def _train(folder, **changes):
  context = _context(folder, **changes)
  return context, _loop(context)


def _loop(context):
  seed = context.config.seed
  return loop.train(
    context, lambda: weights.init_params(context.layout, seed)
  )


def _rows(workdir, name='metrics.jsonl'):
  return [
    {k: v for k, v in r.items() if not k.startswith(('time', 'rollout/'))}
    for r in files.read_jsonl(workdir / name)
  ]


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def _is_as(whole, context, state):
  _same(state, whole[1])
  for name in ('metrics.jsonl', 'trajectories.jsonl', 'groups.jsonl'):
    assert _rows(context.workdir, name) == _rows(whole[0].workdir, name)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Four iterations in one go."""
  with pytest.MonkeyPatch.context() as patch:
    _worker_of_this_process(patch)
    return _train(tmp_path_factory.mktemp('whole'))


def test_responses_are_of_weights_one_iteration_old(whole):
  groups = _rows(whole[0].workdir, 'trajectories.jsonl')
  assert groups
  # A budget of 6 of 16 tokens: the last segment is of the iteration itself.
  assert {(g['iteration'], max(g['versions'])) for g in groups} == {
    (iteration, max(0, iteration - 1))
    for iteration in {g['iteration'] for g in groups}
  }
  assert {g['iteration'] for g in groups} >= {2, 3}


def test_a_run_cut_in_two_is_the_same_bit_for_bit(whole, tmp_path):
  _train(tmp_path / 'cut', rl__iterations=2)
  _is_as(whole, *_train(tmp_path / 'cut'))


def test_further_rounds_after_an_evaluation_are_of_the_same_weights(tmp_path):
  refills = dict(rl__refill_rounds=2, rollout__token_budget=16)
  alone = _train(tmp_path / 'alone', **refills)
  context, state = _train(tmp_path / 'asked', evaluation__every=1, **refills)
  _same(state.params, alone[1].params)
  rows = _rows(context.workdir, 'trajectories.jsonl')
  assert rows == _rows(alone[0].workdir, 'trajectories.jsonl')
  assert len(_rows(context.workdir, 'groups.jsonl')) > 4 * 4  # There were some.


def test_evaluations_in_between_change_nothing_else(whole, tmp_path):
  context, state = _train(tmp_path / 'asked', evaluation__every=1)
  _same(state.params, whole[1].params)
  rows = _rows(context.workdir)
  assert all('evaluation/accuracy' in row for row in rows)
  own = [{k: v for k, v in row.items() if not k.startswith('evaluation')}
         for row in rows]  # fmt: skip
  assert own == _rows(whole[0].workdir)


@pytest.mark.parametrize('at', [2, 3])  # No group is complete before.
def test_an_interrupted_run_goes_on_bit_for_bit(
  whole, monkeypatch, tmp_path, at
):
  """Asked to stop while it trains on `at`, and samples the iteration after."""
  context = _context(tmp_path / 'cut')
  train_on = training_phase.train_on

  def interrupted(stage, groups, replayed, iteration):
    if iteration == at:
      context.stop.set()
    return train_on(stage, groups, replayed, iteration)

  monkeypatch.setattr(training_phase, 'train_on', interrupted)
  if at == 3:  # The last one: it ends.
    _is_as(whole, context, _loop(context))
    return
  with pytest.raises(context_lib.Interrupted, match=f'after iteration {at}'):
    _loop(context)
  monkeypatch.setattr(training_phase, 'train_on', train_on)
  _is_as(whole, *_train(tmp_path / 'cut'))


def test_one_interrupted_in_its_rollout_goes_on_too(
  whole, monkeypatch, tmp_path
):
  context = _context(tmp_path / 'cut')
  original, seen = partial.run, []

  def run(rollout, *arguments):
    seen.append(1)
    for i, trajectory in enumerate(original(rollout, *arguments)):
      if len(seen) == 3 and i == 2:
        context.stop.set()
      yield trajectory

  monkeypatch.setattr(partial, 'run', run)
  with pytest.raises(context_lib.Interrupted):
    _loop(context)
  monkeypatch.setattr(partial, 'run', original)
  _is_as(whole, *_train(tmp_path / 'cut'))


def test_an_iteration_is_sampled_while_the_one_before_is_trained_on(
  monkeypatch, tmp_path
):
  """Each waits for the other: one after the other they would never end."""
  meet = threading.Barrier(2, timeout=60)
  original, train_on = partial.run, training_phase.train_on
  begun = []

  def run(rollout, *arguments):
    begun.append(1)
    if len(begun) > 1:  # The first iteration follows none.
      meet.wait()
    yield from original(rollout, *arguments)

  def together(stage, groups, replayed, iteration):
    if iteration < 3:
      meet.wait()
    return train_on(stage, groups, replayed, iteration)

  monkeypatch.setattr(partial, 'run', run)
  monkeypatch.setattr(training_phase, 'train_on', together)
  # All is sampled whole, so that each iteration has something to train on.
  _train(tmp_path, rollout__token_budget=16)
  assert len(begun) == 4 and meet.n_waiting == 0


def test_where_nothing_is_learnt_both_sample_the_same(tmp_path):
  """With a rate of 0 old weights are the new ones."""
  still = dict(optimizer__learning_rate=0.0)
  for name, overlap in (('both', True), ('one', False)):
    _train(tmp_path / name, rl__overlap=overlap, **still)
  found, expected = (
    _rows(tmp_path / name / 'run', 'trajectories.jsonl')
    for name in ('both', 'one')
  )
  texts = [(r['iteration'], r['response'], r['reward']) for r in found]
  assert texts == [
    (r['iteration'], r['response'], r['reward']) for r in expected
  ]


def test_a_process_that_decodes_itself_is_not_changed(monkeypatch, tmp_path):
  monkeypatch.undo()  # The rollout of the config, and its judges.
  states = [
    _train(tmp_path / str(overlap), has_workers=False, rl__overlap=overlap)
    for overlap in (False, True)
  ]
  _is_as(states[0], *states[1])
