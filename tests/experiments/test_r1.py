"""DeepSeek-R1's configs: every variant can run, with either loss."""

import dataclasses

import pytest

from experiments import r1
from experiments import r1_zero
from k15.config import checks
from k15.data import arithmetic
from k15.data import solution_forms
from k15.rewards import rules

VARIANTS = [
  *((r1_zero, v) for v in ('', 'longer', 'smollm', 'arithmetic', 'smoke')),
  *((r1, v) for v in ('', 'smollm', 'arithmetic', 'smoke')),
]


@pytest.mark.parametrize(('experiment', 'variant'), VARIANTS)
def test_every_variant_can_run_with_either_loss(experiment, variant):
  config = experiment.get_config(variant)
  is_on_pod = variant in ('', 'longer')
  # A user's file, and a base model.
  config.task.train_path = __file__ if config.task.name == 'file' else ''
  config.checkpoint = '' if 'a' in variant or 'k' in variant else 'some/model'
  checks.validate(config, 64 if is_on_pod else 1, arithmetic.KINDS)
  assert config.loss.method == 'grpo'
  config.loss.method = 'mirror_descent'
  checks.validate(config, 64 if is_on_pod else 1, arithmetic.KINDS)


@pytest.mark.parametrize('experiment', [r1, r1_zero])
def test_other_variants_are_refused(experiment):
  with pytest.raises(ValueError, match="unknown variant 'x'"):
    experiment.get_config('x')


def test_the_published_settings():
  config = r1_zero.get_config()
  assert config.optimizer.learning_rate == 3e-6
  assert config.loss.grpo_beta == 0.001
  # 512 questions of 16 responses, 8,192, in 16 steps of 512: 10,400 steps.
  rl = config.rl
  assert rl.problems_per_iteration * rl.group_size == 8192
  assert rl.updates_per_iteration == 16
  assert rl.iterations * rl.updates_per_iteration == 10400
  assert config.reward.default == 'math_answers+r1_format'
  assert config.rl_all.temperature == 0.7
  # 1,700 steps, within 16.
  assert abs(16 * config.rl_all.iterations - 1700) < 16


def test_tags_and_chinese_words_are_tokens():
  """A token each: else they would cost what no English word costs."""
  words = r1_zero.get_config('arithmetic').tokenizer.words
  stripped = {word.strip() for word in words}
  assert set(solution_forms.CHINESE.values()) <= stripped
  assert set(rules.TAGS) <= stripped
  assert len(set(words)) == len(words)


def test_a_form_is_made_of_keys_of_the_task():
  task = r1_zero.get_config().task
  for field in dataclasses.fields(solution_forms.Form):
    assert field.name in task
