"""RL three times in one run: what each phase has of its own."""

import small_run

from k15 import files
from k15 import recipe
from k15.stages.rl import phases

CHANGES = dict(
  stages=('rl', 'rl_all'),
  rl__iterations=1,
  rl_all__iterations=2,
  rl_all__late_domains=('chat:1',),
  rollout__token_budget=16,
  evaluation__samples=1,
)


def _with_chat(context):
  """Every other training problem of the domain 'chat'."""
  for i, problem in enumerate(context.task.train):
    object.__setattr__(problem, 'domain', 'chat' if i % 2 else 'math')
  return context


def _context(folder, **changes):
  return _with_chat(small_run.make_context(folder, **CHANGES | changes))


def test_keys_of_the_last_phase(tmp_path):
  context = _context(tmp_path, rollout__decay_iterations=3)
  config = phases.for_all(context).config
  assert config.rl.iterations == 2
  assert config.rollout.temperature == 0.7
  assert config.rollout.decay_iterations == 0
  assert config.problem_sampler.late_domains == ('chat:1',)
  # The run's own config is as it was.
  assert context.config.rl.iterations == 1
  assert context.config.problem_sampler.late_domains == ()


def test_preferences_are_of_the_last_phase_alone(tmp_path):
  context = _context(tmp_path)
  train = phases.without_late_domains(context).task.train
  assert {p.domain for p in train} == {'math'} and len(train) == 13
  context.config.stages = ('rl',)
  assert phases.without_late_domains(context) is context


def test_both_phases_run_and_the_late_domain_comes_late(tmp_path):
  context = _context(tmp_path)
  summary = recipe.run(context)
  assert 0 <= summary['accuracy_after_rl_all'] <= 1
  groups = files.read_jsonl(context.workdir / 'groups.jsonl')
  domains = {problem.id: problem.domain for problem in context.task.train}
  of_rl_all = [g for g in groups if g['stage'] == 'rl_all']
  found = [
    {domains[g['problem_id']] for g in groups if g['iteration'] == iteration}
    for groups, iteration in (
      ([g for g in groups if g['stage'] == 'rl'], 0),
      (of_rl_all, 0),
      (of_rl_all, 1),
    )
  ]
  assert found[0] == found[1] == {'math'}
  assert 'chat' in found[2]
