"""The stage: samples of the model itself, examples, fine-tuning, resumed.

Nothing unverified is kept, nothing is asked twice, all of it is counted.
"""

import collections
import dataclasses
import json
from concurrent import futures

import jax
import numpy as np
import pytest
import small_run

from experiments import long_cot as long_cot_experiment
from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.config import checks
from k15.data import conversations
from k15.data import long_cot_prompts
from k15.data_types import Problem, StopReason
from k15.generation import draw
from k15.generation.asks import Written
from k15.generation.journal import Journal
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.runtime import context as context_lib
from k15.runtime.task import Task
from k15.stages import long_cot
from k15.stages import long_cot_asking
from k15.stages import long_cot_samples

CHANGES = dict(
  stages=('long_cot',),
  long_cot__batch_tokens=512,
  long_cot__epochs=1,
  long_cot__warmup_steps=0,
  long_cot__log_every=1,
  long_cot_examples__prompt='plain',
  long_cot_examples__samples=2,
  long_cot_examples__problems=8,
  long_cot_examples__least_processes=0,
  long_cot_examples__call_size=5,
  # Long enough for random weights to end a response now and then.
  rollout__max_length=200,
  sft__batch_tokens=256,
)


def _context(folder, **changes):
  """A random policy writes nonsense: what has an even length is right."""
  context = small_run.make_context(folder, **CHANGES | changes)
  judge = lambda text, _: Verdict(('correct', 'wrong')[len(text) % 2])  # noqa: E731
  scorer = scoring.Scorer({'even': judge}, {'': 'even'}, 2)
  return dataclasses.replace(context, scorer=scorer)


def _train(context):
  return long_cot.train(context, None)


def _files(context):
  folder = context.workdir / 'long_cot'
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  context = _context(tmp_path_factory.mktemp('long_cot'))
  return context, _train(context)


def test_examples_are_right_and_the_funnel_counts_them(whole):
  context, state = whole
  written = _files(context)
  assert set(written) == {'samples.jsonl', 'examples.jsonl', 'funnel.json'}
  samples = [json.loads(line) for line in written['samples.jsonl'].splitlines()]
  examples = [
    json.loads(line) for line in written['examples.jsonl'].splitlines()
  ]
  funnel = json.loads(written['funnel.json'])
  verdicts = {
    (s['key'], s['sample']): s['verdict'] for s in samples if 'judge' in s
  }
  samples = [s for s in samples if 'text' in s]
  right, turns = {}, collections.Counter()
  for s in sorted(samples, key=lambda s: s['sample']):  # By call.
    problem = s['problem_id']
    if verdicts.get((s['key'], s['sample'])) == 'correct':
      right[problem, turns[problem]] = s['text']
    turns[problem] += 1
  assert funnel['sampled'] == len(samples) == 16
  assert funnel['correct'] == len(right) > 0
  assert funnel['kept'] == len(examples) > 0
  for example in examples:
    key = example['problem_id'], example['sample']
    assert right[key] == example['response']
    assert len(example['response']) % 2 == 0
  rows = files.read_jsonl(context.workdir / 'metrics.jsonl')
  # Nonsense may become longer when its bytes are read again.
  learnt = rows[0]['sft/examples'], rows[0]['sft/examples_dropped']
  assert sum(learnt) == len(examples) and learnt[0] > 0
  assert int(state.step) == rows[0]['sft/steps'] > 0


def test_it_learns_the_plain_prompt(whole, tmp_path, monkeypatch):
  """Whatever the prompt that was sampled from."""
  seen = []
  monkeypatch.setattr(
    long_cot.sft,
    'train',
    lambda c, m, stage, make_pairs: seen.extend(make_pairs()[0]),
  )
  context = _context(
    tmp_path,
    long_cot_examples__prompt='engineered',
    rollout__max_prompt_length=700,
  )
  _train(context)
  assert seen
  encode = context.task.encode_prompt
  train = {encode(problem.prompt).tobytes() for problem in context.task.train}
  assert {prompt.tobytes() for prompt, *_ in seen} <= train


@pytest.mark.parametrize('calls', [1, 2])
def test_an_interrupted_stage_goes_on_as_if_it_had_not(whole, tmp_path, calls):
  context = _context(tmp_path)
  submit, count = context.scorer.submit, [0]

  def stop_later(*response):
    count[0] += 1
    context.stop.set()
    return submit(*response)

  for _ in range(calls):
    context.scorer.submit = stop_later
    with pytest.raises(context_lib.Interrupted, match='long_cot'):
      _train(context)
    assert not (context.workdir / 'checkpoints/long_cot').exists()
  again = _context(tmp_path)
  state = _train(again)
  own, expected = _files(again), _files(whole[0])
  # Verdicts come in another order, beside what is sampled; nothing is twice.
  ours, theirs = (
    sorted(found.pop('samples.jsonl').splitlines()) for found in (own, expected)
  )
  assert ours == theirs and own == expected
  jax.tree.map(np.testing.assert_array_equal, state, whole[1])


def test_prompts_that_are_too_long_are_said(tmp_path):
  context = _context(tmp_path, long_cot_examples__prompt='engineered')
  with pytest.raises(
    conversations.DataError,
    match='8 of 8 problems have engineered prompts of more than .* = 16',
  ):
    _train(context)


def test_nothing_kept_is_said(tmp_path):
  context = _context(tmp_path, long_cot_examples__least_processes=4)
  with pytest.raises(
    conversations.DataError, match='none of 16 responses was kept'
  ):
    _train(context)
  funnel = json.loads((context.workdir / 'long_cot/funnel.json').read_text())
  assert funnel['kept'] == 0 and set(funnel['correct_showing']) == set(
    long_cot_prompts.PROCESSES
  )


def test_a_server_may_write_them(tmp_path, monkeypatch):
  def by_server(url, model, key, messages_of, *others):
    assert (url, model, key) == ('http://there/v1', 'big', 'secret')

    def write(asks):
      for ask in asks:
        asked.append((ask.sample, messages_of(ask.question)[0]['content']))
        yield ask, Written('word', StopReason.EOS)

    return write

  asked = []
  monkeypatch.setenv(long_cot_samples.KEY_VARIABLE, 'secret')
  monkeypatch.setattr(long_cot_samples.writers, 'by_server', by_server)
  context = _context(
    tmp_path,
    long_cot_examples__server='http://there/v1',
    long_cot_examples__server_model='big',
    # What our prompts begin of a response, a server's do not.
    task__prompt_suffix='<think>',
  )
  examples = long_cot.make_examples(context, None)
  assert [e.response for e in examples] == ['word'] * 8
  prompts = [p.prompt + '<think>' for p in context.task.train[:8]]
  # Two calls, and one more response of each problem, which says the same.
  assert asked[:8] == list(zip([0] * 5 + [1] * 3, prompts, strict=True))


def test_the_stages_of_a_recipe(tmp_path):
  """sft, sft_long and long_cot in one run, none of them twice."""
  changes = CHANGES | dict(
    stages=('sft', 'sft_long', 'long_cot'),
    sft_long__row_tokens=240,
    sft_long__batch_tokens=480,
    sft_long__warmup_steps=0,
  )
  context = _context(tmp_path, **changes)
  recipe.run(context)
  for stage in ('sft', 'sft_long', 'long_cot'):
    assert models.read_origin(context.workdir / 'models' / stage).stage == stage
  config = json.loads((context.workdir / 'models/sft/config.json').read_text())
  assert config['max_position_embeddings'] == 216
  longer = json.loads(
    (context.workdir / 'models/long_cot/config.json').read_text()
  )
  assert longer['max_position_embeddings'] == 240
  before = (context.workdir / 'metrics.jsonl').read_bytes()
  summary = recipe.run(_context(tmp_path, **changes))
  assert 'accuracy_after_sft_long' in summary
  assert (context.workdir / 'metrics.jsonl').read_bytes() == before


@pytest.mark.parametrize('variant', ['arithmetic', 'smoke'])
def test_the_experiments_are_valid(variant):
  config = long_cot_experiment.get_config(variant)
  checks.validate(config, 1, config.task.kinds)


PROBLEMS = [Problem(str(i), f'{i}+1?', str(i + 1)) for i in range(5)]
ALL_FOUR = 'My plan. Let me check. Wait, alternatively: '
ASKING = long_cot_asking.Asking(
  prompt='plain',
  samples=4,
  most_per_problem=2,
  least_processes=4,
  call_size=2,
)
TASK = Task(ByteTokenizer(()), '', [], [], [])
FACTS = dict(model='m', max_length=9, temperature=1.0)


def _judge(ask, text, stop):
  if not long_cot_asking.is_finished(text, stop):
    return None
  assert ask.problem.prompt in ask.question
  future = futures.Future()
  right = text.split()[-1] == ask.problem.answer
  future.set_result(Verdict('correct' if right else 'wrong'))
  return future


class Model:
  """Problem 0 right at once; 1 wrong at first; 2 without reflection; 3 does
  not finish; 4 always says the same."""

  def __init__(self, dies_after=None):
    self.prompts, self.dies = [], dies_after

  def __call__(self, asks):
    for ask in asks:
      if len(self.prompts) == self.dies:
        raise KeyboardInterrupt
      self.prompts.append(ask.question)
      i = int(ask.problem.id)
      stop = StopReason.MAX_LENGTH if i == 3 else StopReason.EOS
      yield ask, Written(self._answer(i), stop)

  def _answer(self, i):
    n = sum(prompt[0] == str(i) for prompt in self.prompts)
    return {
      0: f'{ALL_FOUR}({n}) 1',
      1: f'{ALL_FOUR}({n}) {2 if n > 2 else 9}',
      2: f'My plan. Let me check. Alternatively: ({n}) 3',
      3: f'{ALL_FOUR}4',
      4: f'{ALL_FOUR}5',
    }[i]


def _sample(path, model, asking=ASKING, problems=PROBLEMS, sizes=None):
  journal = Journal(path)

  def draw_call(call, asked, turn):
    asks = long_cot_asking.asks_of(
      call, asked, turn, asking, TASK, FACTS, lambda problem: 'judge'
    )
    assert draw.draw(asks, model, _judge, journal, 'test')
    if sizes is not None:
      sizes.append(len(asks))
    return long_cot_asking.records_of(asks, journal, turn)

  return long_cot_asking.sample(problems, draw_call, asking)


def test_only_what_is_right_and_shows_all_four_is_kept(tmp_path):
  records = _sample(tmp_path / 'samples.jsonl', Model())
  kept = long_cot_asking.kept_of(records, ASKING)
  # Problem 0 is done after two turns; 1 is right from the third on; 3 would be
  # right but is not finished; 4 says one thing, which counts once.
  names = [(r['problem_id'], r['sample']) for r in kept]
  assert sorted(names) == [('0', 0), ('0', 1), ('1', 2), ('1', 3), ('4', 0)]
  assert all(r['verdict'] == 'correct' for r in kept)
  assert all(len(r['processes']) == 4 for r in kept)
  assert sum(r['problem_id'] == '0' for r in records) == 2


def test_the_funnel_by_hand(tmp_path):
  records = _sample(tmp_path / 'samples.jsonl', Model())
  funnel = long_cot_asking.funnel_of(5, records, ASKING)
  examples = funnel.pop('examples')
  # Twice problem 0, four times each of the others; of 1 the last two right.
  assert funnel == dict(
    problems=5,
    sampled=18,
    finished=14,
    correct=12,
    correct_showing=dict(
      planning=12, evaluation=12, reflection=8, exploration=12
    ),
    correct_with_processes=8,
    kept=5,
    problems_with_examples=3,
  )
  assert set(examples) == {
    'kept', 'unfinished', 'wrong', 'correct_without_reflection'
  }  # fmt: skip
  assert examples['wrong']['response'].endswith(' 9')
  assert json.dumps(funnel)


@pytest.mark.parametrize('responses', [1, 2, 5, 8])
def test_what_was_asked_is_not_asked_again(tmp_path, responses):
  """Killed between two calls, and in the middle of one."""
  path = tmp_path / 'samples.jsonl'
  whole = Model()
  expected = _sample(tmp_path / 'whole.jsonl', whole)
  first = Model(dies_after=responses)
  with pytest.raises(KeyboardInterrupt):
    _sample(path, first)
  with open(path, 'ab') as file:
    file.write(b'{"key": "torn')
  second = Model()
  second.prompts = list(first.prompts)  # It is the model that counts turns.
  assert _sample(path, second) == expected
  assert second.prompts == whole.prompts
  third = Model()
  assert _sample(path, third) == expected
  assert not third.prompts


def test_other_problems_alone_are_counted(tmp_path):
  """What is there of others is left alone; ids and prompts that are the same
  have the same response."""
  path = tmp_path / 'samples.jsonl'
  _sample(path, Model())
  model = Model()
  records = _sample(path, model, problems=PROBLEMS[1:])
  own = _sample(tmp_path / 'own.jsonl', Model(), problems=PROBLEMS[1:])
  names = [(r['problem_id'], r['sample'], r['verdict']) for r in records]
  assert names == [(r['problem_id'], r['sample'], r['verdict']) for r in own]
  assert len(records) == 16 and 8 < len(model.prompts) < 16


def test_random_ids_are_calls_and_places():
  asks = long_cot_asking.asks_of(
    3, PROBLEMS[1:3], 2, ASKING, TASK, FACTS, lambda problem: problem.answer
  )
  first = long_cot_asking.streams.IDS['texts'].start
  assert [(ask.group_id, ask.sample) for ask in asks] == [
    (first, 3), (first + 1, 3)
  ]  # fmt: skip
  assert [ask.judge for ask in asks] == ['2', '3']


def test_engineered_prompts_hold_the_problem(tmp_path):
  asking = long_cot_asking.Asking(1, 1, 5, 'engineered')
  seen = []

  def model(asks):
    for ask in asks:
      seen.append(ask.question)
      yield ask, Written('no', StopReason.EOS)

  records = _sample(tmp_path / 'samples.jsonl', model, asking)
  assert [p.prompt in prompt for p, prompt in zip(PROBLEMS, seen, strict=True)]
  assert all('plan' in prompt.lower() for prompt in seen)
  assert {r['verdict'] for r in records} == {'wrong'}
  assert not long_cot_asking.kept_of(records, asking)


def test_calls_of_a_size(tmp_path):
  sizes = []
  _sample(tmp_path / 'samples.jsonl', Model(), sizes=sizes)
  # Three calls of five problems, twice; then of the four that are left... two.
  assert sizes == [2, 2, 1, 2, 2, 1, 2, 2, 2, 2]
