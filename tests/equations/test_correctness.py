"""One meaning of right: a response that was cut earns nothing, wherever it is.

Random weights of the small run seldom end a response; with a judge that calls
everything correct, what is right is what ended by itself.
"""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15.checkpoints import state as state_lib
from k15.data_types import StopReason, Trajectory
from k15.devices import hosts
from k15.equations import correctness
from k15.generation import writers
from k15.generation.journal import Journal
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime import evaluation
from k15.runtime import judges
from k15.runtime import rollouts
from k15.runtime import weights
from k15.stages import collection
from k15.stages import long_cot
from k15.stages.prompt_set import curation_steps
from k15.stages.rl import loop
from k15.stages.rl import setup

# Of 128 bytes a random policy ends some.
LONG = dict(
  rollout__max_length=128,
  rollout__token_budget=128,
  rollout__num_slots=16,
  rollout__tokens_per_call=32,
  long_cot_examples__prompt='plain',
  long_cot_examples__samples=2,
  long_cot_examples__problems=8,
  long_cot_examples__least_processes=0,
)


def _judged_by(judge):
  return lambda config, names, *_: dict.fromkeys(names, judge)


@pytest.fixture
def all_correct(monkeypatch):
  judge = _judged_by(lambda *_: Verdict('correct'))
  monkeypatch.setattr(judges, 'make_judges', judge)


def _params(context):
  return weights.init_params(context.layout, context.config.seed)


def _right_by_stop(pairs):
  """{stop: the verdicts of all that stopped so}, of (stop, is right) pairs."""
  found = {}
  for stop, is_right in pairs:
    found.setdefault(stop, set()).add(bool(is_right))
  return found


def _of_rl(context):
  stage = setup.begin(context, _params(context))
  assert loop.run_iteration(stage, 0) is not None
  stage.rollout.close()
  (rates,) = {tuple(stage.sampler.success_rates)}
  groups = files.read_jsonl(context.workdir / 'groups.jsonl')
  for group in groups:
    rate = rates[stage.problem_index[group['problem_id']]]
    assert rate == np.mean(group['accuracies'])
  return [
    pair
    for group in groups
    for pair in zip(group['stops'], group['rewards'], strict=True)
  ]


def _of_journal(path):
  """(stop, accuracy) of each response; 0 of one that nothing judged."""
  lines = files.read_jsonl(path)
  accuracies = {
    (x['key'], x['sample']): x['accuracy'] for x in lines if 'judge' in x
  }
  return [
    # One that ends at once says nothing, and long-CoT leaves it out.
    (x['stop'] if x['text'] else '', accuracies.get((x['key'], x['sample']), 0))
    for x in lines
    if 'text' in x
  ]


def _of_pass_rates(context):
  with rollouts.sampling(context, _params(context), 'rl') as rollout:
    task = context.task
    write = writers.by_rollout(rollout, task.encode_turn, task.tokenizer)
    problems, form = task.train[:6], ('\n', '', 128)
    path = context.workdir / 'curation/samples.jsonl'
    draw = curation_steps._draw(
      context, write, 'm', Journal(path), 'rates', problems, 3, form
    )
  found = _of_journal(path)
  assert draw.sum() == sum(accuracy for _, accuracy in found)
  return found


def _of_long_cot(context):
  with contextlib.suppress(Exception):
    long_cot.make_examples(context, None)
  return _of_journal(context.workdir / 'long_cot/samples.jsonl')


def _of_long2short(context):
  collected = collection.collect(context, None, 6, 3)
  found = _of_journal(context.workdir / 'responses.jsonl')
  right = sum(r.is_correct for _, sampled in collected for r in sampled)
  assert right == sum(accuracy for _, accuracy in found)
  return found


def _of_evaluation(context):
  with rollouts.sampling(context, _params(context), 'rl') as rollout:
    found = evaluation.evaluate(
      rollout, context.task, context.submit, 4, 128, 1.0
    )
  right = sum(map(correctness.is_right, found))
  assert evaluation.summary(found)['accuracy'] == right / len(found)
  return [(r['stop'], r['reward']) for r in found]


@pytest.mark.parametrize(
  'of', [_of_rl, _of_pass_rates, _of_long_cot, _of_long2short, _of_evaluation]
)
def test_what_was_cut_is_wrong_everywhere(all_correct, tmp_path, of):
  context = small_run.make_context(tmp_path, **LONG)
  found = _right_by_stop(of(context))
  assert found == {'eos': {True}} | dict.fromkeys(
    found.keys() - {'eos'}, {False}
  )
  assert {'eos', 'max_length'} <= found.keys()
  context.scorer.close()


@pytest.mark.parametrize(
  'of', [_of_rl, _of_pass_rates, _of_long2short, _of_evaluation]
)
def test_without_the_key_texts_are_judged_as_they_stand(
  all_correct, tmp_path, of
):
  context = small_run.make_context(tmp_path, reward__cut_is_wrong=False, **LONG)
  found = _right_by_stop(of(context))
  assert set(map(tuple, found.values())) == {(True,)} and len(found) > 1
  context.scorer.close()


def test_records_and_trajectories_are_right_by_their_accuracy():
  # Right without form, wrong in form, and records of before there were parts.
  assert correctness.is_right(dict(reward=0.5, accuracy=1.0))
  assert not correctness.is_right(dict(reward=1.0, accuracy=0.0))
  assert correctness.is_right(dict(reward=1.0))
  assert not correctness.is_right(dict(reward=None))
  trajectory = Trajectory(0, 'p', 0, (), StopReason.EOS, 1.0)
  assert correctness.is_right(trajectory)
  parts = dict(accuracy=0.0, format=1.0)
  in_form = dataclasses.replace(trajectory, parts=parts)
  assert not correctness.is_right(in_form) and in_form.reward == 1
  unscored = dataclasses.replace(trajectory, reward=None)
  assert correctness.accuracy_of(unscored) == 0


# Four tokens an iteration, 16 in all: the age ends what the length would not.
AGED = dict(
  rollout__token_budget=4,
  rollout__max_length=16,
  rl__max_group_age=1,
  rl__iterations=4,
)


def _train(folder, **changes):
  context = small_run.make_context(folder, **AGED | changes)
  state = loop.train(context, lambda: _params(context))
  context.scorer.close()
  return context.workdir, state


def _rows(workdir, name):
  return [
    {k: v for k, v in r.items() if not k.startswith('time')}
    for r in files.read_jsonl(workdir / name)
  ]


def test_what_is_too_old_is_cut(all_correct, tmp_path):
  workdir, state = _train(tmp_path / 'whole')
  groups = _rows(workdir, 'groups.jsonl')
  pairs = [
    pair
    for group in groups
    for pair in zip(group['stops'], group['rewards'], strict=True)
  ]
  found = _right_by_stop(pairs)
  assert found['age'] == {False} and found.get('eos', {True}) == {True}
  rows = _rows(workdir, 'metrics.jsonl')
  assert [r['rl/stop_age'] > 0 for r in rows] == [False, False, True, True]
  # Nothing ends in the first iteration of seed 0: no length, and that is null.
  assert rows[0]['rl/length_mean'] is None and rows[2]['rl/length_mean'] > 0
  # A run that is cut in the middle of all that is the same.
  _train(tmp_path / 'cut', rl__iterations=2)
  again, resumed = _train(tmp_path / 'cut')
  assert _rows(again, 'groups.jsonl') == groups
  jax.tree.map(np.testing.assert_array_equal, state, resumed)


def _sum_judges(config, names, resources, workdir):
  """Right is an odd number of bytes; the form is kept by every second byte."""
  del config, resources, workdir
  odd = lambda text, _: Verdict('correct' if len(text) % 2 else 'wrong')  # noqa: E731
  form = lambda text, _: Verdict('correct' if len(text) % 4 < 2 else 'wrong')  # noqa: E731
  known = dict(exact_answer=odd, r1_format=form)
  return {name: known[name] for name in names}


def test_the_sum_trains_and_accuracy_counts(monkeypatch, tmp_path):
  monkeypatch.setattr(judges, 'make_judges', _sum_judges)
  changes = dict(
    reward__default='exact_answer+0.5*r1_format',
    reward__cut_is_wrong=False,
    rl__iterations=3,
    rl__max_group_age=8,
    rollout__token_budget=6,
  )
  workdir, state = _train(tmp_path / 'whole', **changes)
  rows = [r for r in _rows(workdir, 'metrics.jsonl') if 'rl/groups' in r]
  for row in rows:
    total = row['reward/accuracy'] + 0.5 * row['reward/format']
    assert row['rl/reward'] == pytest.approx(total)
    assert row['rl/accuracy'] == row['reward/accuracy']
  groups = _rows(workdir, 'groups.jsonl')
  rewards = {r for group in groups for r in group['rewards']}
  assert rewards >= {0.5, 1.0} and rewards <= {0.0, 0.5, 1.0, 1.5}
  for group in groups:
    for reward, accuracy in zip(
      group['rewards'], group['accuracies'], strict=True
    ):
      assert accuracy == (reward >= 1)
  # Parts survive in the buffer of a checkpoint.
  _train(tmp_path / 'cut', **changes | dict(rl__iterations=1))
  again, resumed = _train(tmp_path / 'cut', **changes)
  assert _rows(again, 'groups.jsonl') == groups
  assert _rows(again, 'metrics.jsonl') == _rows(workdir, 'metrics.jsonl')
  jax.tree.map(np.testing.assert_array_equal, state, resumed)
  (first, *_) = _rows(workdir, 'trajectories.jsonl')
  assert first['reward'] == first['accuracy'] + 0.5 * first['parts']['format']


def test_a_judge_that_is_down_stops_the_run_before_it_trains(
  monkeypatch, tmp_path
):
  """From the second iteration on; with a judge again, it ends as it would."""
  judge = lambda text, _: Verdict('correct' if len(text) % 2 else 'wrong')  # noqa: E731
  down = lambda *_: Verdict('error', 'service: no verdict')  # noqa: E731
  changes = dict(
    rollout__token_budget=16, rl__iterations=2, saving__every_iterations=9
  )
  monkeypatch.setattr(judges, 'make_judges', _judged_by(judge))
  _, expected = _train(tmp_path / 'whole', **changes)
  context = small_run.make_context(tmp_path / 'down', **AGED | changes)
  original = loop.run_iteration

  def run_iteration(stage, iteration):
    if iteration == 1:
      context.scorer._judges['exact_answer'] = down
    return original(stage, iteration)

  monkeypatch.setattr(loop, 'run_iteration', run_iteration)
  with pytest.raises(
    scoring.Failed, match=r"rl: iteration 1: all 8 .*'service: no verdict'"
  ):
    loop.train(context, lambda: _params(context))
  monkeypatch.setattr(loop, 'run_iteration', original)
  saved = state_lib.Checkpoints(context.workdir / 'checkpoints' / 'rl', 2)
  assert saved.latest_step() == 1
  saved.close()
  _, resumed = _train(tmp_path / 'down', **changes)
  jax.tree.map(np.testing.assert_array_equal, expected, resumed)


def test_a_refused_token_stops_the_run(monkeypatch, tmp_path):
  def refused(*_):
    raise PermissionError('10.0.0.5:9300 does not know the token')

  monkeypatch.setattr(judges, 'make_judges', _judged_by(refused))
  with pytest.raises(scoring.Failed, match='does not know the token'):
    _train(tmp_path, rollout__token_budget=16)


class _Host:
  """Process `number` of two that meet in `gathers`, as allgather does."""

  def __init__(self, number, gathers):
    self.number, self.gathers, self.met = number, gathers, 0

  def gather(self, own):
    self.gathers.setdefault(self.met, {})[self.number] = own
    told = self.gathers[self.met]
    self.met += 1
    return np.stack([told.get(0, own), told.get(1, own)])


def test_hosts_agree_now_and_then_and_at_the_same_call(monkeypatch):
  """100 calls a second: in one minute, about a meeting every 2 seconds."""
  monkeypatch.setattr(hosts.jax, 'process_count', lambda: 2)
  gathers, asked = {}, []
  for number, speed in ((0, 0.01), (1, 0.03)):
    host, now, own = _Host(number, gathers), [0.0], []
    monkeypatch.setattr(hosts.multihost_utils, 'process_allgather', host.gather)
    poll = hosts.Poll(lambda: False, 2.0, lambda now=now: now[0])
    for call in range(6000):
      now[0] += speed
      before = host.met
      assert not poll()
      if host.met > before:
        own.append(call)
    asked.append(own)
  # The second one's clock runs at another speed; it follows the first.
  assert asked[0] == asked[1]
  assert 25 < len(asked[0]) < 50 and asked[0][-1] - asked[0][-2] == 200


def test_one_host_that_is_asked_to_stop_stops_all(monkeypatch):
  monkeypatch.setattr(hosts.jax, 'process_count', lambda: 2)
  monkeypatch.setattr(
    hosts.multihost_utils,
    'process_allgather',
    lambda own: np.stack([own, [1.0, 0.1]]),
  )
  assert hosts.Poll(lambda: False)()


def test_one_process_asks_every_time():
  flags = iter([False, True])
  poll = hosts.Poll(lambda: next(flags))
  assert [poll(), poll()] == [False, True]


def test_pictures_and_texts_are_counted_apart():
  records = [
    dict(accuracy=1.0, domain='add'),
    dict(accuracy=1.0, domain='count', images=['a']),
    dict(accuracy=0.0, domain='count', images=['b']),
    dict(accuracy=1.0, domain='', images=['c']),
  ]
  assert correctness.of_pictures(records) == dict(
    accuracy_texts=1.0, accuracy_pictures=2 / 3, pictures_count=0.5,
    pictures_all=1.0,
  )  # fmt: skip
  assert correctness.of_pictures(records[:1]) == {}
