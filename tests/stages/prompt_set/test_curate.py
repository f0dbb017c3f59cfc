"""The stage that makes the prompt set: its files, and what it refuses."""

import collections
import dataclasses
import json

import pytest
import small_run

from k15 import files
from k15 import recipe
from k15.curation import labels
from k15.data import problem_records
from k15.data_types import ImageRef, Problem, StopReason
from k15.generation import writers as writers_lib
from k15.generation.asks import Written
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.runtime import weights
from k15.stages.prompt_set import curate
from k15.stages.prompt_set import curation_steps

# The small run's answers end with '#### i', and i + 1 is right.
SAMPLED = dict(
  stages=('sft', 'curate'),
  curation__samples=4,
  curation__guesses=3,
  curation__guess_suffix='\n',
  curation__guess_max_length=4,
)
TEXT_ONLY = dict(stages=('curate',), curation__samples=0, curation__guesses=0)


class Writer:
  """Solves what `solves` says, by (prompt, is a guess); counts its calls."""

  def __init__(self, solves, breaks_after=10**6):
    self.drawn = collections.Counter()
    self._solves, self._left = solves, breaks_after

  def __call__(self, asks):
    for ask in asks:
      if not self._left:
        raise ConnectionError('gone')
      self._left -= 1
      self.drawn[ask.key, ask.sample] += 1
      right = self._solves(ask.problem.prompt, bool(ask.prefix), ask.sample)
      text = ask.problem.answer if right else 'no'
      text = text if ask.prefix else f'#### {text}'
      yield ask, Written(text, StopReason.EOS, 3)


def _solves(prompt, is_guess, sample):
  """1+1: always; 5+1: guessed once; 3+1: half of the time; others never."""
  if is_guess:
    return prompt == '5+1' and sample == 2
  return prompt == '1+1' or prompt in ('5+1', '3+1') and sample % 2 == 0


def _curate(folder, writer, model='m', **changes):
  context = small_run.make_context(folder, **SAMPLED | changes)
  try:
    return curate.curate_with(context, writer, model)
  finally:
    context.scorer.close()


def _funnel(folder):
  return json.loads((folder / 'run/curation/funnel.json').read_text())


def test_samples_decide_who_is_trivial_and_guessable(tmp_path):
  problems = _curate(tmp_path, Writer(_solves))
  by_prompt = {problem.prompt: problem for problem in problems}
  assert '1+1' not in by_prompt and '5+1' not in by_prompt
  assert by_prompt['3+1'].difficulty == 0.5
  assert by_prompt['4+1'].difficulty == 1.0
  assert {p.domain for p in problems} == {'mathematics'}
  steps = {step['step']: step for step in _funnel(tmp_path)['steps']}
  (trivial,) = steps['trivial']['examples']
  assert (trivial['prompt'], trivial['detail']) == ('1+1', '4 of 4 right')
  (guessed,) = steps['guessable']['examples']
  assert (guessed['prompt'], guessed['detail']) == (
    '5+1',
    '1 of 3 guesses right',
  )


def test_guesses_are_judged_by_what_they_were_asked(tmp_path):
  """A suffix that begins a thinking is that of full responses alone."""
  suffix = dict(task__prompt_suffix='\n<think>')
  problems = _curate(tmp_path, Writer(_solves), **suffix)
  prompts = {problem.prompt for problem in problems}
  assert '5+1' not in prompts
  # None of them closes it.
  assert {problem.difficulty for problem in problems} == {1.0}
  assert '1+1' in prompts


def test_a_thinking_that_a_guess_would_be_in_is_closed(tmp_path):
  suffix = dict(curation__guess_suffix='\n<think>')
  problems = _curate(tmp_path, Writer(_solves), **suffix)
  assert '5+1' not in {problem.prompt for problem in problems}


def test_what_is_written_accounts_for_every_problem(tmp_path):
  problems = _curate(tmp_path, Writer(_solves))
  folder = tmp_path / 'run/curation'
  kept = files.read_jsonl(folder / 'prompts.jsonl')
  removed = files.read_jsonl(folder / 'removed.jsonl')
  assert kept == [problem_records.to_record(problem) for problem in problems]
  context = small_run.make_context(tmp_path, **SAMPLED)
  ids = [record['id'] for record in kept + removed]
  assert sorted(ids) == sorted(p.id for p in context.task.train)
  assert (folder / 'funnel.txt').read_text().startswith('step')


def test_a_finished_stage_is_read_not_run(tmp_path):
  problems = _curate(tmp_path, Writer(_solves))
  assert _curate(tmp_path, None) == problems


def test_a_killed_stage_draws_nothing_twice(tmp_path):
  whole = Writer(_solves)
  expected = _curate(tmp_path / 'a', whole)
  writers = []
  for _ in range(20):
    writers.append(Writer(_solves, breaks_after=17))
    try:
      problems = _curate(tmp_path / 'b', writers[-1])
      break
    except ConnectionError:
      with open(tmp_path / 'b/run/curation/samples.jsonl', 'ab') as file:
        file.write(b'{"key": "torn')
  assert len(writers) > 5 and problems == expected
  total = sum((writer.drawn for writer in writers), collections.Counter())
  assert total == whole.drawn and set(total.values()) == {1}


def test_other_bounds_draw_nothing_and_another_model_everything(tmp_path):
  first = Writer(_solves)
  _curate(tmp_path, first)
  again = Writer(_solves)
  problems = _curate(tmp_path, again, curation__max_pass_rate=1.0)
  assert '1+1' in {p.prompt for p in problems}
  # Only 1+1, which was never guessed before, is asked for guesses.
  assert sum(again.drawn.values()) == 3
  other = Writer(_solves)
  _curate(tmp_path, other, model='n')
  assert other.drawn.total() == first.drawn.total()


@pytest.mark.parametrize('stage', ['rl', 'short_rl'])
def test_the_prompt_set_stays_once_rl_has_begun(tmp_path, stage):
  _curate(tmp_path, Writer(_solves))
  (tmp_path / 'run/checkpoints' / stage).mkdir(parents=True)
  _curate(tmp_path, None, curation__examples=1)
  with pytest.raises(
    curation_steps.Refused, match=r'curation.max_pass_rate changed since RL'
  ):
    _curate(tmp_path, None, curation__max_pass_rate=0.5)


def test_a_request_to_stop_keeps_the_samples(tmp_path):
  context = small_run.make_context(tmp_path, **SAMPLED)
  context.stop.set()
  with pytest.raises(
    context_lib.Interrupted, match='curate: pass rates: what was'
  ):
    curate.curate_with(context, Writer(_solves), 'm')
  path = tmp_path / 'run/curation/samples.jsonl'
  assert ['text' in x for x in files.read_jsonl(path)].count(True) == 1
  context.scorer.close()


def test_samples_need_weights(tmp_path):
  context = small_run.make_context(tmp_path, **SAMPLED)
  with pytest.raises(curation_steps.Refused, match='need weights'):
    curate.curate(context)


def test_too_few_tags_for_a_share(tmp_path):
  with pytest.raises(curation_steps.Refused, match='1 tags .* share of 0.2'):
    _curate(tmp_path, None, **TEXT_ONLY, curation__max_tag_share=0.2)


def test_a_model_may_tag(tmp_path):
  def write(asks):
    for ask in asks:
      text = 'logic / sums' if '3+1' in ask.question else 'no idea'
      yield ask, Written(text, StopReason.EOS)

  tags = dict(TEXT_ONLY, curation__tagger='model')
  problems = _curate(tmp_path, write, **tags)
  found = {p.prompt: (p.domain, p.discipline) for p in problems}
  assert found['3+1'] == ('logic', 'sums')
  assert found['4+1'][0] == 'mathematics'  # By rules.


def test_text_only_needs_no_model_and_all_of_the_file(tmp_path):
  context = small_run.make_context(tmp_path, **TEXT_ONLY)
  assert context.task.held_out == [] and len(context.task.train) == 30
  problems = curate.curate(context)
  notes = [step['note'] for step in _funnel(tmp_path)['steps']]
  assert sum(map(bool, notes)) == 2 and len(problems) == 30


def test_evaluation_files_and_long_prompts(tmp_path):
  known = dict(id='known', prompt='7 + 1', answer='8')
  held = tmp_path / 'held.jsonl'
  held.write_text(json.dumps(known))
  changes = dict(
    curation__evaluation_paths=(str(held),), rollout__max_prompt_length=4
  )
  problems = _curate(tmp_path, None, **TEXT_ONLY | changes)
  removed = files.read_jsonl(tmp_path / 'run/curation/removed.jsonl')
  # '10+1' and a line's end are five bytes.
  assert len(problems) == 9 and len(removed) == 21
  (overlap,) = [r for r in removed if r['step'] == 'evaluation overlap']
  assert (overlap['prompt'], overlap['other_id']) == ('7+1', 'known')
  # A worked solution of it would leak as much.
  context = small_run.make_context(tmp_path, **TEXT_ONLY | changes)
  later = curate.prompt_set(context, problems)
  assert later.task.train == problems
  assert overlap['id'] in {p.id for p in context.task.train}
  assert overlap['id'] not in {e.problem.id for e in later.task.examples}


def test_evaluation_sets_are_kept_out_of_the_prompt_set(tmp_path):
  path = tmp_path / 'math500.jsonl'
  path.write_text(json.dumps(dict(problem='$7 + 1$', answer='8')))
  changes = dict(TEXT_ONLY, evaluation__sets=(f'x:{path}',))
  problems = _curate(tmp_path, None, **changes)
  assert '7+1' not in {problem.prompt for problem in problems}
  steps = {step['step']: step for step in _funnel(tmp_path)['steps']}
  assert steps['evaluation overlap']['removed'] == 1


def test_other_sets_may_be_evaluated_once_rl_has_begun(tmp_path):
  """As long as the prompt set, which stays as it is, has none of them."""
  path = tmp_path / 'more.jsonl'
  problems = _curate(tmp_path, None, **TEXT_ONLY)
  (tmp_path / 'run/checkpoints/rl').mkdir(parents=True)
  more = TEXT_ONLY | dict(evaluation__sets=(str(path),))
  path.write_text(json.dumps(dict(problem='1 - 1', answer='0')))
  assert _curate(tmp_path, None, **more) == problems
  path.write_text(json.dumps(dict(problem='7 + 1', answer='8')))
  with pytest.raises(
    curation_steps.Refused, match="1 problems .* such as 'problems.jsonl:8'"
  ):
    _curate(tmp_path, None, **more)


def test_too_few_problems_for_rl(tmp_path):
  context = small_run.make_context(tmp_path, stages=('rl',))
  with pytest.raises(curation_steps.Refused, match='3 problems are left'):
    curate.prompt_set(context, context.task.train[:3])


def test_a_run_samples_its_own_policy_and_trains_on_what_is_left(tmp_path):
  changes = SAMPLED | dict(stages=('sft', 'curate', 'rl'), rl__iterations=1)
  context = small_run.make_context(tmp_path, **changes)
  summary = recipe.run(context)
  assert 'accuracy_after_rl' in summary and 'accuracy_after_curate' not in (
    summary
  )
  drawn = [
    record
    for record in files.read_jsonl(tmp_path / 'run/curation/samples.jsonl')
    if 'text' in record
  ]
  assert len(drawn) == 26 * (4 + 3)  # 30 problems, 4 held out.
  report = (tmp_path / 'run/report.html').read_text()
  assert '<h2>Prompt set</h2>' in report and 'Finished' in report
  context.scorer.close()


@pytest.mark.parametrize(
  'changes',
  [
    # 5 tokens of prompt, 40 of the suffix, 5 of the prefix and 16 of the guess.
    dict(curation__guess_suffix='\nAnswer at once, without any reasoning.\n'),
    dict(curation__tagger='model', curation__guesses=0),
  ],
)
def test_longer_questions_than_those_of_training_are_asked(tmp_path, changes):
  changes = SAMPLED | dict(curation__samples=1, curation__guesses=1) | changes
  context = small_run.make_context(tmp_path, **changes)
  r = context.config.rollout
  needed = curation_steps.columns_of(context.config, context.task)
  assert needed > r.max_prompt_length + r.max_length
  params = weights.init_params(context.layout, 0)
  curate.curate(context, lambda: params)
  drawn = files.read_jsonl(tmp_path / 'run/curation/samples.jsonl')
  assert len([r for r in drawn if 'text' in r]) == 26 * 2
  context.scorer.close()


def test_workers_that_cannot_hold_the_questions_are_refused(tmp_path):
  changes = SAMPLED | dict(
    curation__tagger='model', rollout__workers=('local', '127.0.0.1:1')
  )
  context = small_run.make_context(tmp_path, **changes)
  needed = curation_steps.columns_of(context.config, context.task)
  # The longest prompt is '10+1': 4 bytes, in a question and before a tag.
  assert needed == len(labels.question('10+1').encode()) + 32
  with pytest.raises(curation_steps.Refused) as error:
    recipe.run(context)
  assert f'have {needed} tokens, more than rollout.max_prompt_length 16' in str(
    error.value
  )
  assert not list((tmp_path / 'run').glob('stages/*'))
  context.scorer.close()


def test_rollout_samples_do_not_hang_on_their_neighbours(tmp_path):
  context = small_run.make_context(tmp_path, **SAMPLED)
  params = weights.init_params(context.layout, 0)
  rollout = rollouts.make_rollout(context, 'curate')
  rollout.set_params(params, version=0)
  write = writers_lib.by_rollout(
    rollout, context.task.encode_turn, context.task.tokenizer
  )
  problems = context.task.train[:5]
  asks = curation_steps.asks_of(problems, ('\n', '', 6), 2, 1.0, 'm', 0)
  together = {a.name: written.text for a, written in write(asks)}
  alone = {a.name: written.text for a, written in write(asks[3:4])}
  assert len(together) == 10 and alone.items() <= together.items()
  assert len(set(together.values())) > 5
  context.scorer.close()


def _images(digest):
  return (ImageRef(digest * 64, 8, 8, ''),)


def test_what_is_solved_without_its_picture_goes(tmp_path):
  context = small_run.make_context(tmp_path, **SAMPLED)
  problems = [
    Problem('a', 'how <image>many', '2', images=_images('a')),
    Problem('b', 'how <image>many', '3', images=_images('b')),
    Problem('c', '<image>tall', '4', images=_images('c')),
    Problem('d', 'as text', '5'),
  ]
  asked = collections.Counter()

  class Blind(Writer):
    def __call__(self, asks):
      for ask in asks:
        asked[ask.problem.prompt, bool(ask.problem.images)] += 1
      return super().__call__(asks)

  # Who sees none, guesses what is tall; who sees the others, guesses none.
  writer = Blind(lambda prompt, is_guess, k: prompt == 'tall')
  task = dataclasses.replace(context.task, train=problems)
  context = dataclasses.replace(context, task=task)
  try:
    kept = curate.curate_with(context, writer, 'm')
  finally:
    context.scorer.close()
  assert [p.id for p in kept] == ['a', 'b', 'd']
  steps = {step['step']: step for step in _funnel(tmp_path)['steps']}
  (removed,) = steps['guessable']['examples']
  assert removed['reason'] == 'guessed right without the picture'
  # Two pictures are asked the same, four times whole and thrice as a guess; and
  # without either there is one question.
  assert asked['how <image>many', True] == 2 * (4 + 3)
  assert asked['how many', False] == 3 and asked['as text', False] == 7
  # What it leaves is read again with its pictures.
  folder = tmp_path / 'run/curation'
  read = curate.curation_files.read_prompts(folder)
  assert [(p.id, p.images) for p in read] == [(p.id, p.images) for p in kept]
