"""Long2short RL: its own keys, what is cut earns nothing, the best start."""

import pytest
import small_run

from k15 import files
from k15.checkpoints import models
from k15.rewards.verdict import Verdict
from k15.runtime import weights
from k15.stages import collection
from k15.stages import short_rl

CHANGES = dict(
  stages=('short_rl',),
  short_rl__iterations=2,
  short_rl__max_length=8,
  short_rl__length_weight=0.5,
)


def test_keys_of_the_phase(tmp_path):
  context = small_run.make_context(
    tmp_path, rollout__token_budget=12, **CHANGES
  )
  config = short_rl.shortened(context).config
  assert config.rl.iterations == 2
  assert config.rollout.max_length == config.rollout.token_budget == 8
  assert config.length_reward.weight == 0.5
  assert config.length_reward.start_iteration == 0
  # The run's own config is as it was.
  assert context.config.rollout.max_length == 16
  assert context.config.length_reward.weight == 0.0


@pytest.mark.parametrize('cut_is_wrong', [True, False])
def test_a_response_that_was_cut_earns_nothing(tmp_path, cut_is_wrong):
  context = small_run.make_context(
    tmp_path,
    rollout__token_budget=16,
    reward__cut_is_wrong=cut_is_wrong,
    **CHANGES,
  )
  context.scorer._judges['exact_answer'] = lambda *_: Verdict('correct')
  short_rl.train(context, None)
  groups = files.read_jsonl(context.workdir / 'groups.jsonl')
  assert 'max_length' in groups[0]['stops']  # Random weights seldom end.
  for group in groups:
    for stop, reward in zip(group['stops'], group['rewards'], strict=True):
      assert reward == float(stop == 'eos' or not cut_is_wrong)


def test_an_evaluation_says_how_long_responses_may_be(tmp_path):
  context = small_run.make_context(
    tmp_path, rollout__token_budget=16, evaluation__every=1, **CHANGES
  )
  short_rl.train(context, None)
  rows = files.read_jsonl(context.workdir / 'metrics.jsonl')
  assert {row['evaluation/max_length'] for row in rows} == {8}


def test_the_stage_begins_with_the_best_balance(tmp_path, monkeypatch, capsys):
  context = small_run.make_context(tmp_path)
  for seed, name in enumerate(('a', 'b')):
    params = weights.init_params(context.layout, seed)
    models.save(
      tmp_path / name, context.shape, params,
      context.task.tokenizer, 32, models.Origin('rl', 1, 1), None,
    )  # fmt: skip
  # 0.90 - 0.1 = 0.80 against 0.88 - 0.1 * 60 / 100 = 0.82.
  measured = {'a': (0.90, 100.0), 'b': (0.88, 60.0)}
  monkeypatch.setattr(collection, 'collect', lambda context, model, *_: model)
  monkeypatch.setattr(
    collection, 'accuracy_and_tokens', lambda model: measured[model.name]
  )
  candidates = str(tmp_path / 'a'), str(tmp_path / 'b')
  context = small_run.make_context(
    tmp_path,
    short_rl__candidates=candidates,
    rollout__token_budget=16,
    **CHANGES,
  )
  state = short_rl.train(context, None)
  out = capsys.readouterr().out
  assert 'b: accuracy 0.880, 60.0 tokens, chosen' in out
  assert int(state.step) == 4  # Two iterations of two updates.
  rows = files.read_jsonl(context.workdir / 'metrics.jsonl')
  assert [(r['stage'], r['step']) for r in rows] == [
    ('short_rl', 0),
    ('short_rl', 1),
  ]
