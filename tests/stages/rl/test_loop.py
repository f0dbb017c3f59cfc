"""Iterations by hand, interrupted ones bit for bit, each method once."""

import dataclasses

import jax
import numpy as np
import pytest
import small_run

from experiments import base
from k15 import files
from k15.checkpoints import state as state_lib
from k15.data_types import Batch, StopReason
from k15.equations import problem_sampler
from k15.rewards.verdict import Verdict
from k15.rollout import partial
from k15.runtime import context as context_lib
from k15.runtime import judges
from k15.runtime import rollouts
from k15.runtime import weights
from k15.stages.rl import loop
from k15.stages.rl import setup
from k15.stages.rl import training_phase


def _odd(response, reference):
  """A reward that even an untrained policy gets now and then."""
  del reference
  return Verdict('correct' if len(response) % 2 else 'wrong')


def _judges(judge):
  return lambda config, names, *_: dict.fromkeys(names, judge)


@pytest.fixture
def rewarded(monkeypatch):
  monkeypatch.setattr(judges, 'make_judges', _judges(_odd))


def _params(context):
  seed = context.config.seed
  return weights.init_params(context.layout, seed)


def _make_context(folder, **changes):
  """Random weights end hardly anything: what is cut is judged as it stands."""
  changes = dict(reward__cut_is_wrong=False) | changes
  return small_run.make_context(folder, **changes)


def _train(folder, **changes):
  context = _make_context(folder, **changes)
  state = loop.train(context, lambda: _params(context))
  return context, state


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def _is_same(left, right):
  pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
  return all(np.array_equal(a, b) for a, b in pairs)


def _rows(workdir, name='metrics.jsonl'):
  return [
    {k: v for k, v in r.items() if not k.startswith('time')}
    for r in files.read_jsonl(workdir / name)
  ]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Three iterations in one go."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(judges, 'make_judges', _judges(_odd))
    return _train(tmp_path_factory.mktemp('rl'))


def test_partial_rollouts_span_iterations(whole):
  rows = _rows(whole[0].workdir)
  assert [r['step'] for r in rows] == [0, 1, 2]
  assert rows[0]['rl/stop_budget'] > 0  # 16 tokens do not fit in 6
  groups = _rows(whole[0].workdir, 'groups.jsonl')
  assert any(g['iteration'] > g['opened_at'] for g in groups)
  assert sum(r.get('rl/groups', 0) for r in rows) == len(groups)
  updates = [r for r in rows if 'rl/loss' in r]
  assert updates and all(r['rl/grad_norm'] > 0 for r in updates)


def test_what_the_slots_did_is_on_disk(whole):
  spans = _rows(whole[0].workdir, 'timeline.jsonl')
  assert {span['version'] for span in spans} == {0, 1, 2}
  assert {span['slot'] for span in spans} == {0, 1, 2, 3}
  decoded = [span for span in spans if span['kind'] == 'decode']
  sampled = sum(r['rollout/tokens'] for r in _rows(whole[0].workdir))
  assert sum(span['tokens'] for span in decoded) == sampled
  assert 'exhausted' in {span['stop'] for span in decoded}
  assert len(decoded) == len(spans) - len(decoded)  # A prefill before each.


def test_nothing_is_compiled_after_the_first_updates(rewarded, tmp_path):
  context = _make_context(tmp_path, rollout__token_budget=16)
  stage = setup.begin(context, _params(context))
  with context.layout.use_mesh():
    loop.run_iteration(stage, 0)
    loop.run_iteration(stage, 1)
    with _no_compilation():
      for iteration in range(2, 5):
        loop.run_iteration(stage, iteration)
  assert stage.step._cache_size() == stage.logprobs._cache_size() == 1


def test_the_state_keeps_its_layout(rewarded, tmp_path):
  context = _make_context(
    tmp_path, rollout__token_budget=16, mesh__fsdp=2, mesh__tensor=2
  )
  stage = setup.begin(context, _params(context))
  before = jax.tree.map(lambda x: x.sharding, stage.state)
  with context.layout.use_mesh():
    loop.run_iteration(stage, 0)
  assert jax.tree.map(lambda x: x.sharding, stage.state) == before


class _no_compilation:
  """Fails if anything is compiled within it."""

  def __enter__(self):
    self.names = []

    def note(name, seconds, **_):
      if name.endswith('backend_compile_duration'):
        self.names.append(name)

    self.note = note
    jax.monitoring.register_event_duration_secs_listener(note)

  def __exit__(self, *exception):
    jax.monitoring.unregister_event_duration_listener(self.note)
    assert not self.names


def test_a_stage_cut_in_two_is_the_same_bit_for_bit(whole, rewarded, tmp_path):
  _train(tmp_path, rl__iterations=1)
  context, state = _train(tmp_path)
  _same(state, whole[1])
  for name in ('metrics.jsonl', 'trajectories.jsonl', 'groups.jsonl'):
    assert _rows(context.workdir, name) == _rows(whole[0].workdir, name)


def test_an_interrupted_rollout_leaves_the_start_of_its_iteration(
  whole, monkeypatch, tmp_path
):
  seen = []

  def judge(response, reference):
    seen.append(response)
    return _odd(response, reference)

  monkeypatch.setattr(judges, 'make_judges', _judges(judge))
  _train_until = _make_context(tmp_path)
  stop = _train_until.stop
  original = partial.run

  def run(rollout, *args):
    for i, trajectory in enumerate(original(rollout, *args)):
      if rollout._version == 1 and i == 2:
        stop.set()
      yield trajectory

  monkeypatch.setattr(partial, 'run', run)
  with pytest.raises(context_lib.Interrupted, match='saved before iteration 1'):
    loop.train(_train_until, lambda: _params(_train_until))
  monkeypatch.setattr(partial, 'run', original)
  context, state = _train(tmp_path)
  _same(state, whole[1])
  assert _rows(context.workdir) == _rows(whole[0].workdir)
  groups = _rows(context.workdir, 'groups.jsonl')
  assert groups == _rows(whole[0].workdir, 'groups.jsonl')


def test_evaluations_in_between_change_nothing_else(whole, rewarded, tmp_path):
  context, state = _train(tmp_path, evaluation__every=2)
  rows = _rows(context.workdir)
  # After the second of three iterations, and in no other.
  assert ['evaluation/accuracy' in row for row in rows] == [False, True, False]
  assert 0 <= rows[1]['evaluation/accuracy'] <= 1
  _same(state.params, whole[1].params)


def test_the_last_evaluations_ask_more(whole, rewarded, tmp_path):
  context, state = _train(
    tmp_path,
    evaluation__every=1,
    evaluation__last_evaluations=2,
    evaluation__last_samples=4,
    evaluation__last_greedy=True,
    evaluation__pass_at=(1, 4, 8),
  )
  more = {'evaluation/greedy_accuracy', 'evaluation/pass@4'}
  found = [more & set(row) for row in _rows(context.workdir)]
  assert found == [set(), more, more]
  last = _rows(context.workdir)[2]
  # Of four problems, four samples each; of any four, one is right.
  assert (16 * last['evaluation/accuracy']).is_integer()
  assert last['evaluation/accuracy'] <= last['evaluation/pass@4']
  assert 'evaluation/pass@8' not in last
  # Of two updates the second meets what the first has done.
  assert last['rl/last_log_ratio_rms'] > last['rl/log_ratio_rms'] > 0
  # A response has several tokens.
  assert last['rl/last_token_log_ratio_rms'] > 0
  assert last['problem_sampler/visits'] >= 1
  _same(state.params, whole[1].params)


def test_stopping_after_an_iteration_says_so(rewarded, monkeypatch, tmp_path):
  context = _make_context(tmp_path, saving__every_iterations=100)
  original = loop.run_iteration

  def run_iteration(stage, iteration):
    values = original(stage, iteration)
    context.stop.set()
    return values

  monkeypatch.setattr(loop, 'run_iteration', run_iteration)
  with pytest.raises(context_lib.Interrupted, match='saved after iteration 0'):
    loop.train(context, lambda: _params(context))
  folder = context.workdir / 'checkpoints' / 'rl'
  checkpoints = state_lib.Checkpoints(folder, 2)
  assert checkpoints.latest_step() == 1
  checkpoints.close()


@pytest.mark.parametrize(
  'changes',
  [
    dict(loss__method='mirror_descent'),
    dict(loss__method='reinforce', loss__baseline='leave_one_out'),
    dict(loss__method='rest'),
    dict(loss__method='grpo', loss__grpo_beta=0.0, loss__pg_norm='seq_mean'),
    dict(loss__method='grpo', loss__grpo_beta=0.1, loss__reg_norm='seq_mean'),
  ],
  ids=lambda changes: '-'.join(str(v) for v in changes.values()),
)
def test_each_method_learns_from_an_iteration(rewarded, tmp_path, changes):
  context, state = _train(
    tmp_path, rl__iterations=1, rollout__token_budget=16, **changes
  )
  assert not _is_same(state.params, _params(context))
  (row,) = _rows(context.workdir)
  assert row['rl/updates'] == state.step == 2
  assert ('rl/kl' in row) == (changes.get('loss__grpo_beta', 0) > 0)


def _teaches_if_even(response, reference):
  """Problems whose answer is odd are never solved."""
  wrong = int(reference) % 2 or len(response) % 2
  return Verdict('wrong' if wrong else 'correct')


# Groups without differences give way to others, right responses come again,
# budgets come and go, and the temperature falls.
LATE = dict(
  length_reward__toggle_iterations=1,
  length_reward__toggle_accuracy=0.25,
  length_reward__toggle_percentile=100.0,
  rollout__decay_iterations=3,
  rollout__end_temperature=0.7,
  rl__refill_rounds=2,
  rl__positive_replay=1,
  rl__group_size=4,
  rl__problems_per_iteration=2,
  rl__iterations=4,
  rollout__max_length=8,
)


@pytest.fixture(scope='module')
def late(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(judges, 'make_judges', _judges(_teaches_if_even))
    return _train(tmp_path_factory.mktemp('late'), **LATE)


def test_groups_that_teach_nothing_give_way_to_others(late):
  context, state = late
  groups = _rows(context.workdir, 'groups.jsonl')
  rows = _rows(context.workdir)
  opened = [sum(g['opened_at'] == i for g in groups) for i in range(4)]
  assert max(opened) > 2  # More than an iteration begins with ...
  assert max(opened) <= 2 * 3  # ... but no more than so many rounds draw.
  for row in rows:
    own = [g for g in groups if g['iteration'] == row['step']]
    taught = [g for g in own if len({*g['rewards']}) > 1]
    trained = row.get('rl/responses_trained', 0)
    if 'rl/groups_replayed' in row:
      assert trained > 4 * len(taught)
    else:
      assert trained == 4 * len(taught)
  # What a budget of 6 has cut is not grown again by a refill.
  spans = _rows(context.workdir, 'timeline.jsonl')
  assert max(s['tokens'] for s in spans if s['kind'] == 'decode') <= 6
  assert any('rl/groups_replayed' in row for row in rows)
  assert state.step == sum(row.get('rl/updates', 0) for row in rows)


def test_refills_and_replays_cut_in_two_are_the_same_bit_for_bit(
  late, monkeypatch, tmp_path
):
  monkeypatch.setattr(judges, 'make_judges', _judges(_teaches_if_even))
  _train(tmp_path, **LATE | dict(rl__iterations=2))
  context, state = _train(tmp_path, **LATE)
  _same(state, late[1])
  for name in ('metrics.jsonl', 'groups.jsonl'):
    assert _rows(context.workdir, name) == _rows(late[0].workdir, name)


# Of each group a response ends in its first iteration, one in its second, one
# in its third, and one never.
ARRIVALS = dict(
  rl__waits_for_group=False,
  rl__group_size=4,
  rl__problems_per_iteration=2,
  rl__iterations=6,
  rl__max_group_age=3,
  rollout__max_length=64,
  reward__cut_is_wrong=True,
)


def _ending_by_index(monkeypatch):
  monkeypatch.setattr(judges, 'make_judges', _judges(_odd))
  original = partial.run

  def run(*args):
    for trajectory in original(*args):
      ends = len(trajectory.segments) == trajectory.sample_index + 1 < 4
      stop = StopReason.EOS if ends else StopReason.BUDGET
      yield dataclasses.replace(trajectory, stop=stop)

  monkeypatch.setattr(partial, 'run', run)


def test_responses_are_trained_on_once_as_they_arrive(monkeypatch, tmp_path):
  _ending_by_index(monkeypatch)
  recorded = []
  record = problem_sampler.ProblemSampler.record
  monkeypatch.setattr(
    problem_sampler.ProblemSampler,
    'record',
    lambda self, *found: (recorded.extend(found[1]), record(self, *found)),
  )
  context, state = _train(tmp_path / 'whole', **ARRIVALS)
  groups = _rows(context.workdir, 'groups.jsonl')
  # The last of a group is closed by its age, and counts as wrong.
  first = [g for g in groups if g['group_id'] == 0]
  assert [(g['iteration'], g['samples']) for g in first] == [
    (0, [0]), (1, [1]), (2, [2]), (4, [3]),
  ]  # fmt: skip
  assert first[3]['stops'] == ['age'] and first[3]['rewards'] == [0.0]
  names = [(g['group_id'], i) for g in groups for i in g['samples']]
  assert len(names) == len(set(names))
  rows = _rows(context.workdir)
  for row in rows:
    own = [g for g in groups if g['iteration'] == row['step']]
    assert row['rl/responses_trained'] == sum(len(g['samples']) for g in own)
  # Success rates are of whole groups: those of iterations 0 and 1, once each.
  by_group = [
    np.mean([a for g in groups if g['group_id'] == i for a in g['accuracies']])
    for i in range(4)
  ]
  assert recorded == pytest.approx(by_group)
  # With siblings in the buffer, cut in two, it is the same bit for bit.
  _train(tmp_path / 'cut', **ARRIVALS | dict(rl__iterations=3))
  again, resumed = _train(tmp_path / 'cut', **ARRIVALS)
  _same(state, resumed)
  for name in ('metrics.jsonl', 'groups.jsonl'):
    assert _rows(again.workdir, name) == _rows(context.workdir, name)


def test_drift_is_that_of_the_precision_and_of_nothing_else(rewarded, tmp_path):
  """Not of older weights, nor of the updates before: steps are large here."""
  changes = dict(optimizer__learning_rate=0.03, rl__iterations=4)
  context, _ = _train(tmp_path / 'exact', **changes)
  exact = [r for r in _rows(context.workdir) if 'rl/loss' in r]
  assert max(r['rl/log_ratio_max'] for r in exact) > 0.1
  assert 0 < max(r['drift/logprob_max'] for r in exact) < 1e-4
  context, _ = _train(
    tmp_path / 'rough',
    rollout__dtype='bfloat16',
    rollout__cache_dtype='int8',
    loss__rollout_correction='truncate',
    **changes,
  )
  rough = [r for r in _rows(context.workdir) if 'rl/loss' in r]
  assert all(r['drift/logprob_mean'] > 1e-4 for r in rough)
  assert all(r['drift/kl'] > 0 for r in rough)
  assert all(0 < r['drift/correction_weight'] <= 2 for r in rough)
  assert 'drift/correction_weight' not in exact[0]


def test_rest_learns_nothing_where_nothing_is_right(monkeypatch, tmp_path):
  wrong = _judges(lambda *_: Verdict('wrong'))
  monkeypatch.setattr(judges, 'make_judges', wrong)
  context, state = _train(
    tmp_path,
    rl__iterations=1,
    rollout__token_budget=16,
    loss__method='rest',
  )
  _same(state.params, _params(context))
  assert state.step == 0
  assert _rows(context.workdir)[0]['rl/updates'] == 0


@pytest.mark.parametrize(
  'changes',
  [
    dict(loss__method='rest'),
    dict(loss__keep_zero_variance_groups=False),
  ],
)
def test_an_iteration_that_teaches_nothing_moves_nothing(
  rewarded, tmp_path, changes
):
  context = small_run.make_context(
    tmp_path,
    optimizer__reset_every_iteration=False,
    optimizer__weight_decay=0.1,
    **changes,
  )
  stage = setup.begin(context, _params(context))
  right = [small_run.make_group(i, (1.0, 0.0), (4, 6)) for i in range(4)]
  assert training_phase.train_on(stage, right, [], 0)['rl/updates'] == 2
  before = jax.tree.map(np.asarray, stage.state)
  wrong = [small_run.make_group(i, (0.0, 0.0), (4, 6)) for i in range(4)]
  assert training_phase.train_on(stage, wrong, [], 1)['rl/updates'] == 0
  _same(stage.state, before)
  assert before.step == 2


def test_the_slow_reference_follows_the_steps(rewarded, tmp_path):
  """Two updates an iteration, an interval of 3: due at 3, 6, 9, 12 steps.

  So after the iterations that end with 4, 6, 10 and 12.
  """
  changes = dict(
    loss__method='grpo', loss__grpo_beta=0.1, loss__grpo_reference_interval=3
  )
  context = small_run.make_context(tmp_path, **changes)
  stage = setup.begin(context, _params(context))
  right = [small_run.make_group(i, (1.0, 0.0), (4, 6)) for i in range(4)]
  renewed = []
  for iteration in range(6):
    before = stage.kl_params
    values = training_phase.train_on(stage, right, [], iteration)
    assert values['rl/kl'] >= 0
    if stage.kl_params is not before:
      _same(stage.kl_params, stage.state.params)
      renewed.append(int(stage.state.step))
  assert renewed == [4, 6, 10, 12]


def test_a_slow_reference_cut_in_two_is_the_same_bit_for_bit(
  rewarded, tmp_path
):
  changes = dict(
    loss__method='grpo',
    loss__grpo_beta=0.1,
    loss__grpo_reference_interval=3,
    rollout__token_budget=16,
  )
  for name in ('whole', 'cut'):
    (tmp_path / name).mkdir()
  _train(tmp_path / 'cut', rl__iterations=2, **changes)
  cut, state = _train(tmp_path / 'cut', **changes)
  whole, expected = _train(tmp_path / 'whole', **changes)
  _same(state, expected)
  assert _rows(cut.workdir) == _rows(whole.workdir)


def test_numbers_that_are_not_finite_end_the_run(rewarded, tmp_path):
  context = _make_context(tmp_path, rollout__token_budget=16)
  stage = setup.begin(context, _params(context))
  groups = [small_run.make_group(i, (1.0, 0.0), (4, 6)) for i in range(2)]
  poisoned = jax.tree.map(lambda x: x * np.nan, stage.state.params)
  stage.state = stage.state.replace(params=poisoned)
  with pytest.raises(FloatingPointError, match='rl iteration 5: loss') as error:
    training_phase.train_on(stage, groups, [], 5)
  path = context.workdir / 'failed-rl-5.npz'
  assert str(path) in str(error.value)
  with np.load(path) as batch:
    assert batch['loss_mask'].sum() == 20
    fields = {field.name for field in dataclasses.fields(Batch)}
    # Those are of documents, and of pictures.
    assert set(batch) == fields - {'domain_ids', 'images', 'features'}


def test_random_weights_are_those_of_the_seed(tmp_path):
  context = _make_context(tmp_path)
  _same(weights.load_params(context, None), _params(context))


def test_only_a_budget_below_the_maximum_leaves_contexts_to_resume():
  rollout = base.get_config().rollout
  rollout.max_prompt_length, rollout.max_length = 24, 128
  rollout.token_budget = 128
  assert rollouts.longest_context(rollout) == 24
  rollout.token_budget = 127
  assert rollouts.longest_context(rollout) == 24 + 128


def test_a_rollout_layout_of_its_own_changes_nothing(rewarded, tmp_path):
  """Nor does an optimizer's state that waits in host memory."""
  changes = dict(
    rollout__token_budget=16,
    optimizer__reset_every_iteration=False,
    mesh__fsdp=2,
    mesh__tensor=1,
    saving__every_iterations=9,
  )
  context, state = _train(tmp_path / 'one', **changes)
  moved = dict(
    rollout__mesh=(1, 1, 2),
    rollout__mesh_rules=('embed:',),
    optimizer__offload=True,
  )
  other, other_state = _train(tmp_path / 'two', **changes | moved)
  for left, right in zip(
    jax.tree.leaves(state), jax.tree.leaves(other_state), strict=True
  ):
    assert left.sharding == right.sharding
    # Log-probabilities of the rollout enter no loss, and tokens are the same.
    np.testing.assert_array_equal(left, right)
  lines = [_rows(c.workdir) for c in (context, other)]
  own = ('handover/seconds', 'handover/bytes', 'offload/seconds')
  for left, right in zip(*lines, strict=True):
    assert all(right.pop(key) > 0 for key in (*own, 'offload/bytes'))
    # What the rollout's last bits are is the only difference.
    for row in (left, right):
      for key in [key for key in row if key.startswith('drift/')]:
        assert abs(row.pop(key)) < 1e-5
    assert left == right


def test_moments_that_are_reset_are_dropped_for_the_rollout(
  whole, rewarded, tmp_path
):
  context, state = _train(tmp_path, optimizer__offload=True)
  _same(state, whole[1])
  values = _rows(context.workdir)[0]
  assert values.pop('offload/bytes', 0) == 0
