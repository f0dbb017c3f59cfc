"""Cooldown's questions: asked, verified, learnt; resumed, and by another model.

A random policy writes nonsense: what has an even length is right.
"""

import collections
import dataclasses

import numpy as np
import pytest
import small_run

from experiments import base
from k15 import files
from k15 import recipe
from k15.config import checks
from k15.config import keys
from k15.data import conversations
from k15.data_types import StopReason
from k15.generation.asks import Written
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime import context as context_lib
from k15.runtime import preparation
from k15.stages import kinds
from k15.stages import long_cot_samples
from k15.stages.pretraining import learnt_documents
from k15.stages.pretraining import questions

CHANGES = dict(
  stages=('cooldown',),
  cooldown__row_tokens=64,
  cooldown__batch_tokens=128,
  cooldown__steps=4,
  cooldown__log_every=1,
  cooldown__warmup_steps=0,
  cooldown__weights=('qa:1', 'words:1'),
  cooldown_questions__problems=8,
  cooldown_questions__samples=3,
  cooldown_questions__most_per_problem=1,
  cooldown_questions__call_size=5,
  documents__held_out_share=0.0,
  # Long enough for random weights to end a response now and then.
  rollout__max_length=200,
)


def _context(folder, **changes):
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'documents.jsonl'
  files.replace_jsonl(
    path, [dict(text=f'{i} abc abc', domain='words') for i in range(40)]
  )
  changes = CHANGES | dict(cooldown__files=(str(path),)) | changes
  context = small_run.make_context(folder, **changes)
  judge = lambda text, _: Verdict(('correct', 'wrong')[len(text) % 2])  # noqa: E731
  scorer = scoring.Scorer({'even': judge}, {'': 'even'}, 2)
  return dataclasses.replace(context, scorer=scorer)


def _files(context):
  folder = context.workdir / 'cooldown'
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  context = _context(tmp_path_factory.mktemp('questions'))
  preparation.write_config(context.workdir, context.config)
  recipe.run(context)
  return context


def test_what_is_right_becomes_a_document(whole):
  folder = whole.workdir / 'cooldown'
  lines = files.read_jsonl(folder / 'samples.jsonl')
  texts = {(s['key'], s['sample']): s for s in lines if 'text' in s}
  right = {
    (texts[s['key'], s['sample']]['problem_id'],
     texts[s['key'], s['sample']]['text'])
    for s in lines if s.get('verdict') == 'correct'
  }  # fmt: skip
  documents = files.read_jsonl(folder / 'questions.jsonl')
  by_id = {problem.id: problem for problem in whole.task.train}
  for document in documents:
    assert document['domain'] == 'qa'
    prompt = by_id[document['problem_id']].prompt + whole.task.prompt_suffix
    assert document['text'].startswith(prompt)
    answer = document['text'].removeprefix(prompt)
    assert len(answer) % 2 == 0 and (document['problem_id'], answer) in right
  # One of each problem at most, and none is asked again that has its own.
  counts = collections.Counter(d['problem_id'] for d in documents)
  assert documents and set(counts.values()) == {1}
  funnel = files.read_json(folder / 'funnel.json')
  assert funnel == dict(
    problems=8,
    asked=len(texts),
    finished=sum(
      s['stop'] == 'eos' and s['text'] != '' for s in texts.values()
    ),
    right=len(right),
    kept=len(documents),
    at_most_per_problem=1,
    problems_with_answers=len(counts),
  )
  assert funnel['asked'] < 24 and funnel['right'] == funnel['kept']


def test_they_are_learnt_beside_the_files(whole):
  store = learnt_documents.open_store(whole, 'cooldown', False)
  assert store.names == ('qa', 'words')
  documents = files.read_jsonl(whole.workdir / 'cooldown/questions.jsonl')
  (first, *_) = np.flatnonzero(store.domains == 0)
  text = whole.task.tokenizer.decode(store[first])
  assert text == documents[0]['text']
  html = (whole.workdir / 'report.html').read_text()
  funnel = files.read_json(whole.workdir / 'cooldown/funnel.json')
  assert f'8 problems, {funnel["asked"]} asked, ' in html


@pytest.mark.parametrize('calls', [1, 2])
def test_an_interrupted_stage_goes_on_as_if_it_had_not(whole, tmp_path, calls):
  context = _context(tmp_path)
  submit = context.scorer.submit

  def stop_later(*response):
    context.stop.set()
    return submit(*response)

  context.scorer.submit = stop_later
  for _ in range(calls):
    with pytest.raises(context_lib.Interrupted, match='cooldown: what was'):
      kinds.train(context, 'cooldown', None)
  again = _context(tmp_path)
  recipe.run(again)
  own, expected = _files(again), _files(whole)
  ours, theirs = (
    sorted(found.pop('samples.jsonl').splitlines()) for found in (own, expected)
  )
  assert ours == theirs and own == expected
  weights = 'models/cooldown/model.safetensors'
  assert (again.workdir / weights).read_bytes() == (
    whole.workdir / weights
  ).read_bytes()


def test_another_model_may_answer(whole, tmp_path):
  """Of another shape, with words of its own."""
  context = _context(
    tmp_path,
    cooldown_questions__model=str(whole.workdir),
    policy__d_model=32,
    policy__num_layers=2,
    tokenizer__words=('abc',),
  )
  questions.make(context, 'cooldown', None)
  asked = files.read_jsonl(context.workdir / 'cooldown/samples.jsonl')
  before = files.read_jsonl(whole.workdir / 'cooldown/samples.jsonl')
  assert not {s['key'] for s in asked} & {s['key'] for s in before}
  # The same as asked in a run of its own shape.
  alike = _context(tmp_path / 'alike', tokenizer__words=())
  source = whole.workdir / 'models' / 'cooldown'
  questions.make(alike, 'cooldown', source)
  own, other = _files(context), _files(alike)
  assert own['questions.jsonl'] == other['questions.jsonl']


def test_a_server_may_answer(tmp_path, monkeypatch):
  def by_server(url, model, key, messages_of, *others):
    assert (url, model) == ('http://there/v1', 'big')

    def write(asks):
      for ask in asks:
        asked.append(messages_of(ask.question)[0]['content'])
        yield ask, Written(f'word{"s" * (len(asked) % 2)}', StopReason.EOS)

    return write

  asked = []
  monkeypatch.setattr(long_cot_samples.writers, 'by_server', by_server)
  context = _context(
    tmp_path,
    cooldown_questions__server='http://there/v1',
    cooldown_questions__server_model='big',
  )
  questions.make(context, 'cooldown', None)
  documents = files.read_jsonl(context.workdir / 'cooldown/questions.jsonl')
  prompts = [p.prompt + '\n' for p in context.task.train[:8]]
  assert asked[:8] == prompts
  assert {d['text'] for d in documents} <= {f'{p}word' for p in prompts}


def test_nothing_kept_is_said(tmp_path):
  context = _context(tmp_path, cooldown_questions__samples=1)
  wrong = scoring.Scorer({'no': lambda *_: Verdict('wrong')}, {'': 'no'}, 2)
  context = dataclasses.replace(context, scorer=wrong)
  with pytest.raises(
    conversations.DataError, match='none of 8 answers was kept'
  ):
    questions.make(context, 'cooldown', None)


def test_without_problems_nothing_is_asked(tmp_path):
  context = _context(tmp_path, cooldown_questions__problems=0)
  questions.make(context, 'cooldown', None)
  questions.make(_context(tmp_path), 'pretrain', None)
  assert not (context.workdir / 'cooldown').exists()


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(stages=('cooldown',)),
      'cooldown_questions.problems is 8, and there is no model to ask: name a'
      ' checkpoint, cooldown_questions.model or cooldown_questions.server',
    ),
    (
      dict(model='there', server='http://there/v1', server_model='big'),
      'cooldown_questions.model and server are both set, and one of them'
      ' writes',
    ),
    (
      dict(server='http://there/v1'),
      'cooldown_questions.server and server_model belong together, and one'
      " is ''",
    ),
  ],
)
def test_what_cannot_be_asked_is_refused(changes, sentence):
  config = base.get_config()
  config.stages = changes.pop('stages', ('pretrain', 'cooldown'))
  config.cooldown_questions.update(problems=8, **changes)
  with pytest.raises(keys.ConfigError) as error:
    checks.validate(config, 1, config.task.kinds)
  assert str(error.value) == sentence
