"""Right responses that read well become conversations, beside general ones."""

import json

import jax
import numpy as np
import pytest
import small_run

from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.config import resume
from k15.curation import readable
from k15.data import conversations
from k15.rewards.verdict import Verdict
from k15.runtime import weights
from k15.stages import collection
from k15.stages import rejection_sft

CHANGES = dict(
  stages=('rejection_sft',),
  rejection_sft__problems=5,
  rejection_sft__samples=3,
  rejection_sft__batch_tokens=64,
  rejection_sft__warmup_steps=0,
  rejection_sft__log_every=1,
)
TEXTS = ('so 7', 'so 7', '得 7')


def _collected(context, model, num_problems, samples):
  """Each problem has the same right response twice, and a mixed one."""
  del model
  assert (num_problems, samples) == (5, 3)
  encode = context.task.tokenizer.encode
  responses = [
    collection.Response(np.array(encode(t), np.int32), True) for t in TEXTS
  ]
  wrong = [collection.Response(r.tokens, False) for r in responses]
  problems = context.task.train[:num_problems]
  return [(p, responses if i else wrong) for i, p in enumerate(problems)]


def test_what_is_kept(tmp_path):
  context = small_run.make_context(tmp_path, **CHANGES)
  examples, funnel = rejection_sft.chosen(
    context.task, _collected(context, None, 5, 3), readable.Readable('latin')
  )
  assert funnel == dict(
    problems=5, sampled=15, wrong=3, kept=4, repeated=4, mixed_languages=4,
    problems_with_examples=4,
  )  # fmt: skip
  first = context.task.train[1]
  assert examples[0] == dict(
    problem_id=first.id,
    messages=[
      dict(role='user', content=first.prompt),
      dict(role='assistant', content='so 7'),
    ],
  )


def test_three_of_four_are_of_reasoning(tmp_path):
  general = tmp_path / 'general.jsonl'
  general.write_text(json.dumps(dict(prompt='hello', response='Hi!')) + '\n')
  path = str(general)
  context = small_run.make_context(
    tmp_path,
    rejection_sft__files=(path, path),
    rejection_sft__weights=(3.0, 1.0),
    **CHANGES,
  )
  own = rejection_sft.with_files(context, 'own').config.rejection_sft
  assert own.files == ('own', path, path)
  # A quarter of general use, and 3 to 1 among these.
  assert own.weights == (0.75, 0.1875, 0.0625)
  assert context.config.rejection_sft.files == (path, path)
  context.config.rejection_sft.general_share = 0.0
  own = rejection_sft.with_files(context, 'own').config.rejection_sft
  assert (own.files, own.weights) == (('own',), ())


def test_nothing_kept_is_an_error(tmp_path, monkeypatch):
  monkeypatch.setattr(collection, 'collect', lambda *_: [])
  context = small_run.make_context(tmp_path, **CHANGES)
  with pytest.raises(conversations.DataError, match='no response was kept'):
    rejection_sft.train(context, None)


def test_the_stage_learns_its_own_samples_and_general_conversations(
  tmp_path, monkeypatch
):
  general = tmp_path / 'general.jsonl'
  general.write_text(json.dumps(dict(prompt='hello', response='Hi!')) + '\n')
  monkeypatch.setattr(collection, 'collect', _collected)
  context = small_run.make_context(
    tmp_path, rejection_sft__files=(str(general),), **CHANGES
  )
  state = rejection_sft.train(context, None)
  rows = files.read_jsonl(context.workdir / 'metrics.jsonl')
  assert {row['stage'] for row in rows} == {'rejection_sft'}
  assert rows[0]['sft/examples'] == 8 + 1  # No script is asked for.
  assert int(state.step) == rows[0]['sft/steps']
  examples = files.read_jsonl(context.workdir / 'rejection_sft/examples.jsonl')
  assert [e['messages'][1]['content'] for e in examples[:2]] == ['so 7', '得 7']


def test_the_base_learns_what_the_model_before_sampled(tmp_path, monkeypatch):
  """Nothing is learnt at a rate of nearly 0: the weights are the base's."""
  base = small_run.make_context(tmp_path, 'base', stages=('sft',))
  recipe.run(base)
  monkeypatch.setattr(collection, 'collect', _collected)
  context = small_run.make_context(
    tmp_path,
    checkpoint=str(base.workdir),
    rejection_sft__from_checkpoint=True,
    rejection_sft__learning_rate=1e-12,
    rejection_sft__end_learning_rate=0.0,
    **CHANGES,
  )
  state = rejection_sft.train(context, tmp_path / 'no/such/model')
  directory = models.directory_of(base.workdir)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6),
    weights.whole(context.shape, state),
    weights.load_params(base, directory),
  )


def _right(response, reference):
  return Verdict('correct')


def test_the_recipe_samples_judges_and_goes_on(tmp_path):
  changes = CHANGES | dict(
    stages=('sft', 'rejection_sft'), reward__cut_is_wrong=False
  )
  context = small_run.make_context(tmp_path, **changes)
  context.scorer._judges['exact_answer'] = _right
  text = json.dumps(resume.to_json(context.config))
  (context.workdir / 'config.json').write_text(text)  # As `k15.main` does.
  summary = recipe.run(context)
  assert 0 <= summary['accuracy_after_rejection_sft'] <= 1
  funnel = files.read_json(context.workdir / 'rejection_sft/funnel.json')
  assert funnel['sampled'] == 15
  html = (context.workdir / 'report.html').read_text()
  assert 'Rejection sampling, and supervised fine-tuning' in html
  assert '15 sampled' in html
  again = recipe.run(context)  # Done is done.
  assert again | {'seconds': 0} == summary | {'seconds': 0}
