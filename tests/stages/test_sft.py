"""Stages on conversations: packed as unpacked, two phases, resumed exactly.

The warm-up learns, and goes on after an interruption bit for bit.
"""

import json
import threading

import jax
import numpy as np
import pytest
import small_checkpoint
import small_run

from experiments import sft as sft_experiment
from k15 import files
from k15.config import checks
from k15.config import resume
from k15.data import conversations
from k15.data import packing
from k15.runtime import context as context_lib
from k15.runtime import steps as steps_lib
from k15.runtime import weights
from k15.stages import sft
from k15.training import batching
from k15.training import optimizer as optimizer_lib


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def _write(folder, count=24):
  """Conversations of one and of two turns, of 9 to 40 tokens."""
  folder.mkdir(parents=True, exist_ok=True)
  rows = []
  for i in range(count):
    turns = [('user', f'{i}?'), ('assistant', 'so ' * (i % 9) + str(i))]
    turns += [('user', 'and?'), ('assistant', str(-i))] * (i % 2)
    rows.append(
      json.dumps(dict(messages=[dict(role=r, content=c) for r, c in turns]))
    )
  path = folder / 'talks.jsonl'
  path.write_text('\n'.join(rows))
  return str(path)


def _context(folder, stage='sft_long', **changes):
  defaults = dict(
    files=(_write(folder),),
    row_tokens=48,
    batch_tokens=96,
    epochs=1,
    packing='first_fit',
    optimizer='adam',
    warmup_steps=0,
    log_every=1,
  )
  keys = {
    key if '__' in key else f'{stage}__{key}': value
    for key, value in (defaults | changes).items()
  }
  return small_run.make_context(folder, **keys, stages=(stage,))


def _train(context, stage='sft_long'):
  make_params = lambda: weights.init_params(context.layout, 0)  # noqa: E731
  return sft.train(context, make_params, stage)


def _rows(context):
  return [
    {k: v for k, v in row.items() if not k.startswith('time')}
    for row in files.read_jsonl(context.workdir / 'metrics.jsonl')
  ]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """One epoch in one go: the context and the last state."""
  context = _context(tmp_path_factory.mktemp('sft_data'))
  return context, _train(context)


def test_what_is_logged(whole):
  first, *steps = _rows(whole[0])
  assert first['stage'] == 'sft_long' and first['sft/examples'] == 24
  assert first['sft/examples_dropped'] == 0
  assert first['sft/steps'] == len(steps) == -(-first['sft/rows'] // 2)
  assert 0.8 < first['sft/filled'] <= 1
  # Every target of every conversation once: digits, words and ends.
  store = sft.make_stream(whole[0], 'sft_long', None, False)
  targets = sum(b['loss_mask'].sum() for b in store.batches)
  assert sum(row['sft/tokens'] for row in steps) == targets


def test_the_rates_of_the_second_phase(whole):
  rates = [r['sft/learning_rate'] for r in _rows(whole[0])[1:]]
  assert rates[0] == pytest.approx(1e-5)
  assert rates[-1] == pytest.approx(1e-6)
  assert rates == sorted(rates, reverse=True)


def test_the_papers_values():
  """Section 2.5.2: 32k and 128k, 2e-5 to 2e-6, 1e-5 to 1e-6, an epoch each."""
  config = sft_experiment.get_config()
  assert config.stages == ('sft', 'sft_long')
  for group, row, high, low in (
    (config.sft, 32 * 1024, 2e-5, 2e-6),
    (config.sft_long, 128 * 1024, 1e-5, 1e-6),
  ):
    assert (group.row_tokens, group.epochs) == (row, 1)
    steps, warmup = 1000, group.warmup_steps
    schedule = optimizer_lib.cosine_schedule(
      group.learning_rate, group.end_learning_rate, warmup, steps
    )
    assert float(schedule(warmup)) == pytest.approx(high)
    assert float(schedule(steps - 1)) == pytest.approx(low)
    assert float(schedule(0)) < high / warmup  # It is warmed up, and again.


def test_the_second_phase_has_the_files_of_the_first():
  config = sft_experiment.get_config()
  config.sft.files = ('a', 'b')
  assert config.sft_long.files == ('a', 'b')
  config.sft.weights = (2, 1)
  assert config.sft_long.weights == (2, 1)
  config.sft_long.files = ('c',)
  assert (config.sft.files, config.sft_long.files) == (('a', 'b'), ('c',))
  assert resume.to_json(config)['sft_long']['files'] == ['c']


def test_packed_is_unpacked(whole):
  """Loss and gradient of one batch, packed or with a row for each example."""
  context, _ = whole
  stream = sft.make_stream(context, 'sft_long', None, False)
  store = sft._open_store(context, 'sft_long', False)
  sizes = store.sizes
  plan = packing.make_plan(store.lengths, sizes, (), 48, 0, 1, stage='sft_long')
  indices = np.concatenate([plan.row(0), plan.row(1)])
  packed = next(stream.batches)
  alone = [packing.make_row(store, [i], 48) for i in indices]
  alone += [packing.make_row(store, [], 48)] * (len(alone) % 2)
  unpacked = {key: np.stack([row[key] for row in alone]) for key in packed}
  assert packed['segment_ids'].max() > 1 and unpacked['segment_ids'].max() == 1
  assert packed['loss_mask'].sum() == unpacked['loss_mask'].sum()
  values = []
  for arrays in (packed, unpacked):
    optimizer = weights.make_optimizer(context.config, context.shape, 'adam')
    params = weights.init_params(context.layout, 0)
    state = weights.init_state(context.layout, optimizer, params, 0, 'sft')
    layout = jax.tree.map(lambda x: x.sharding, state)
    schedule = optimizer_lib.constant_schedule(0.01, 0)
    step = steps_lib.make_policy_step(
      context, steps_lib.mean_loss, optimizer, schedule, layout
    )
    with context.layout.use_mesh():
      values.append(step(state, batching.supervised(arrays))[1])
  for key in ('loss', 'grad_norm', 'entropy_sum', 'tokens'):
    assert float(values[0][key]) == pytest.approx(
      float(values[1][key]), rel=1e-5
    )


def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path):
  context = _context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted, match='sft_long: saved after st'):
    _train(context)
  again = _context(tmp_path)
  _same(_train(again), whole[1])
  assert _rows(again) == _rows(whole[0])
  finished = _context(tmp_path)
  _same(_train(finished), whole[1])
  assert _rows(finished) == _rows(whole[0])


def test_files_do_not_change_under_a_stage(whole, tmp_path):
  context = _context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted):
    _train(context)
  path = tmp_path / 'talks.jsonl'
  text = path.read_text()
  again = _context(tmp_path)
  path.write_text(text.replace('so', 'as'))
  with pytest.raises(
    conversations.DataError,
    match='sft_long.files, the tokenizer, or what .* changed',
  ):
    _train(again)
  # Under another name it is the same file.
  path.write_text(text)
  path = path.rename(tmp_path / 'moved.jsonl')
  _same(_train(_context(tmp_path, files=(str(path),))), whole[1])


def test_another_tokenizer_makes_other_tokens(tmp_path):
  """Until anything is saved, a stage begins anew with what there is."""
  lengths = []
  for words in ((), ('so ',)):
    context = _context(tmp_path, tokenizer__words=words)
    store = sft._open_store(context, 'sft_long', True)
    lengths.append(store.lengths.sum())
  # 0 + 1 + ... + 8 of 'so ' twice, and 0 to 5, each of two tokens less.
  assert lengths[0] - lengths[1] == 2 * (36 + 36 + 15)


def test_what_is_asked_in_the_evaluation_is_left_out(tmp_path):
  context = _context(tmp_path, drop_too_long=True, row_tokens=30)
  prompt = context.task.held_out[0].prompt
  path = tmp_path / 'talks.jsonl'
  rows = [
    dict(prompt=f' {prompt}', response='x'),
    dict(prompt='a', response='b'),
  ]
  path.write_text('\n'.join(map(json.dumps, rows)))
  stream = sft.make_stream(context, 'sft_long', None, True)
  assert stream.counts['sft/held_out_dropped'] == 1
  assert stream.counts['sft/examples'] == 1


def test_no_turn_of_a_conversation_asks_what_is_evaluated(tmp_path):
  problem = 'What is the remainder when $2^{100}$ is divided by $7$?'
  measured = tmp_path / 'math.jsonl'
  rows = [dict(problem=problem, answer='2'), dict(problem='$7+1$', answer='8')]
  measured.write_text('\n'.join(map(json.dumps, rows)))
  context = _context(
    tmp_path,
    row_tokens=300,
    batch_tokens=600,
    evaluation__sets=(str(measured),),
  )
  hello = [dict(role='user', content='hi'), dict(role='assistant', content='x')]
  asks = [
    problem.upper(),
    f'Reason step by step.\n\n{problem}\nBox the answer.',
    '7 + 1',
    'fine',
  ]
  path = tmp_path / 'talks.jsonl'
  path.write_text(
    '\n'.join(
      json.dumps(
        dict(messages=[*hello, dict(role='user', content=ask), *hello])
      )
      for ask in asks
    )
  )
  stream = sft.make_stream(context, 'sft_long', None, True)
  assert stream.counts['sft/held_out_dropped'] == 3
  assert stream.counts['sft/examples'] == 1


def test_the_tasks_own_examples_first_fit(tmp_path):
  context = _context(tmp_path, files=(), epochs=0, steps=3)
  stream = sft.make_stream(context, 'sft_long', None, True)
  assert stream.steps == 3 and stream.counts['sft/examples'] == 26
  batch = next(stream.batches)
  assert batch['tokens'].shape == (2, 48)
  # '7+1', a line break and '#### 7' with its end: 4 tokens of no loss.
  row, mask = batch['segment_ids'][0], batch['loss_mask'][0]
  for number in range(1, row.max() + 1):
    own = mask[row == number]
    assert own[-1] == 1 and own[0] == 0
    assert len(own) - own.sum() in (4, 5)


def test_the_experiment_reads_a_chat_through_the_template(tmp_path):
  config = sft_experiment.get_config('smoke')
  checkpoint = small_checkpoint.write(tmp_path / 'Qwen2.5-tiny')
  config.checkpoint = str(checkpoint)
  config.task.train_path = str(
    small_checkpoint.write_problems(tmp_path / 'train.json')
  )
  config.sft.files = (_write(tmp_path),)
  context_lib.adopt_checkpoint(config)
  checks.validate(config, 1, config.task.kinds)
  context = context_lib.make(config, tmp_path / 'run', threading.Event())
  for stage, row_tokens in (('sft', 512), ('sft_long', 1024)):
    stream = sft.make_stream(context, stage, None, True)
    batch = next(stream.batches)
    assert batch['tokens'].shape == (4, row_tokens)
    assert stream.counts['sft/examples'] == 24
    targets = batch['tokens'][batch['loss_mask'] > 0]
    others = batch['tokens'][batch['loss_mask'] == 0]
    # <|im_end|> ends what the assistant writes; <|im_start|> it never writes.
    assert (targets == 2).any() and not (targets == 1).any()
    assert (others == 1).any()
  context.scorer.close()


def test_an_epoch_shorter_than_its_warm_up_is_refused(tmp_path):
  context = _context(tmp_path, warmup_steps=50)
  with pytest.raises(
    conversations.DataError, match='warmup_steps is 50, and 1 epochs are'
  ):
    sft.make_stream(context, 'sft_long', None, True)


def _rows_of_sft(folder):
  return [
    {k: v for k, v in r.items() if not k.startswith('time')}
    for r in files.read_jsonl(folder / 'metrics.jsonl')
  ]


def _train_of_sft(context):
  return sft.train(context, lambda: weights.init_params(context.layout, 0))


@pytest.fixture(scope='module')
def whole_of_sft(tmp_path_factory):
  """Four steps in one go: the last state, and the folder."""
  folder = tmp_path_factory.mktemp('sft')
  context = small_run.make_context(folder, sft__learning_rate=0.03)
  return _train_of_sft(context), context.workdir


def test_the_loss_falls(whole_of_sft):
  losses = [
    r['sft/loss'] for r in _rows_of_sft(whole_of_sft[1]) if 'sft/loss' in r
  ]
  assert len(losses) == 4
  assert losses[-1] < losses[0] - 0.1


def test_logged_numbers(whole_of_sft):
  rows = _rows_of_sft(whole_of_sft[1])
  assert rows[0] == {
    'stage': 'sft', 'step': 0, 'sft/examples': 26, 'sft/examples_dropped': 0
  }  # fmt: skip
  assert [r['step'] for r in rows] == [0, 0, 1, 2, 3]
  for row in rows[1:]:
    assert row['sft/tokens'] > 0
    assert 0 <= row['sft/token_accuracy'] <= 1
    # Near log 320, the vocabulary, when nothing is learnt yet.
    assert 0 < row['sft/entropy'] <= 6.0


def test_an_interrupted_stage_goes_on_bit_for_bit_in_sft(
  whole_of_sft, tmp_path
):
  context = small_run.make_context(tmp_path, sft__learning_rate=0.03)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted, match='saved after step 1'):
    _train_of_sft(context)
  again = small_run.make_context(tmp_path, sft__learning_rate=0.03)
  _same(_train_of_sft(again), whole_of_sft[0])
  assert _rows_of_sft(again.workdir) == _rows_of_sft(whole_of_sft[1])


def test_a_finished_stage_is_not_done_again(whole_of_sft):
  state, workdir = whole_of_sft
  before = (workdir / 'metrics.jsonl').read_bytes()
  context = small_run.make_context(workdir.parent, sft__learning_rate=0.03)
  _same(_train_of_sft(context), state)
  assert (workdir / 'metrics.jsonl').read_bytes() == before


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
  context = small_run.make_context(
    tmp_path, sft__learning_rate=1e38, optimizer__clip_norm=0.0
  )
  with pytest.raises(FloatingPointError, match='sft step 1: loss') as error:
    _train_of_sft(context)
  path = context.workdir / 'failed-sft-1.npz'
  assert str(path) in str(error.value)
  with np.load(path) as batch:
    assert batch['loss_mask'].sum() > 0
    assert batch['tokens'].shape == batch['ref_logprobs'].shape
