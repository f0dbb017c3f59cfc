"""Pretraining, cooldown and long context: mixtures, resumed runs, the new base.

Tiny: rows of 16 and 32 tokens, documents of a file.
"""

import dataclasses
import functools
import json
import threading

import jax
import numpy as np
import pytest
import small_run

from experiments import whole_recipe
from k15 import files
from k15 import recipe
from k15.checkpoints import models
from k15.config import checks
from k15.curation import clean_documents
from k15.data import arithmetic
from k15.data import conversations
from k15.report import run_page
from k15.runtime import context as context_lib
from k15.runtime import preparation
from k15.runtime import steps as steps_lib
from k15.runtime import weights
from k15.stages import kinds
from k15.stages.pretraining import document_rows
from k15.stages.pretraining import learnt_documents
from k15.stages.pretraining import pretrain
from k15.training import batching
from k15.training import optimizer as optimizer_lib

STAGES = ('pretrain', 'cooldown', 'long_context')
DOMAINS = ('odd', 'tables', 'words')


def _same(left, right):
  jax.tree.map(np.testing.assert_array_equal, left, right)


def _write(path, count, length):
  rows = [
    dict(text=f'{i} ' + 'abc ' * (i % length), domain=DOMAINS[i % 3])
    for i in range(count)
  ]
  path.write_text('\n'.join(map(json.dumps, rows)))
  return str(path)


def _context(folder, stage='pretrain', **changes):
  folder.mkdir(parents=True, exist_ok=True)
  defaults = dict(
    files=(_write(folder / 'documents.jsonl', 60, 6),),
    weights=('odd:2', 'words:1', 'tables:1'),
    batch_tokens=64,
    steps=4,
    warmup_steps=0,
    log_every=2,
    documents__held_out_share=0.2,
    documents__held_out_every=3,
  )
  if stage == 'long_context':
    defaults |= dict(
      long_files=(_write(folder / 'long.jsonl', 12, 40),),
      lengths=(16, 32),
      needles=0,
    )
  else:
    defaults['row_tokens'] = 16
  found = {
    key if '__' in key else f'{stage}__{key}': value
    for key, value in (defaults | changes).items()
  }
  return small_run.make_context(folder, **found, stages=(stage,))


def _train(context, stage='pretrain'):
  context = pretrain.activated(context, stage)
  return pretrain.train(context, None, stage)


def _rows(context):
  return [
    {k: v for k, v in row.items() if not k.startswith('time')}
    for row in files.read_jsonl(context.workdir / 'metrics.jsonl')
  ]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Pretraining in one go: the context and the last state."""
  context = _context(tmp_path_factory.mktemp('pretrain'))
  return context, _train(context)


@pytest.fixture(scope='module')
def long(tmp_path_factory):
  """Long context in one go, with needles in the longer rows only."""
  context = _context(tmp_path_factory.mktemp('long'), 'long_context')
  return context, _train(context, 'long_context')


def test_what_is_logged(whole):
  counts, before, *steps = _rows(whole[0])
  held_out = counts['text/documents_held_out']
  assert counts['text/documents'] + held_out == 60 and held_out > 3
  assert counts['text/rows'] == 16 and counts['text/full_rows'] == 0
  assert [row['step'] for row in steps] == [0, 2, 3]
  # Before the first step, every three, and after the last one.
  measured = [row['step'] for row in steps if 'text/held_out_loss' in row]
  assert measured == [2, 3] and before['text/held_out_loss'] > 5
  domains = {f'text/held_out_domain_{name}' for name in DOMAINS}
  assert domains <= before.keys() and domains <= steps[-1].keys()
  assert steps[-1]['text/held_out_loss'] < before['text/held_out_loss']


def test_the_loss_is_the_mean_of_those_of_the_domains(whole):
  """Weighed by their tokens, which are counted here from the rows."""
  context, _ = whole
  store = learnt_documents.open_store(context, 'pretrain', False)
  [phase] = document_rows.phases_of(context, 'pretrain', store)
  first = phase.batches[0]
  targets = first['domain_ids'][first['loss_mask'] > 0]
  tokens = np.bincount(targets, minlength=3)
  row = next(r for r in _rows(context) if 'text/loss' in r)
  own = [row[f'text/loss_domain_{name}'] for name in store.names]
  assert row['text/tokens'] == tokens.sum()
  assert row['text/loss'] == pytest.approx(
    np.dot(own, tokens) / tokens.sum(), rel=1e-5
  )


def test_the_mixture_beside_what_was_asked(whole):
  path = whole[0].workdir / 'pretrain_tokens' / 'mixture.json'
  found = files.read_json(path)['partial']['domains']
  assert [found[name]['asked'] for name in DOMAINS] == [0.5, 0.25, 0.25]
  for value in found.values():
    # 256 tokens, of documents of at most 23: a domain is off by less than two.
    assert value['share'] == pytest.approx(value['asked'], abs=0.18)


def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path):
  context = _context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted, match='pretrain: saved after st'):
    _train(context)
  again = _context(tmp_path)
  _same(_train(again), whole[1])
  assert _rows(again) == _rows(whole[0])
  _same(_train(_context(tmp_path)), whole[1])  # Done is done.


def test_documents_do_not_change_under_a_stage(whole, tmp_path):
  context = _context(tmp_path)
  context.stop.set()
  with pytest.raises(context_lib.Interrupted):
    _train(context)
  again = _context(tmp_path)
  path = tmp_path / 'documents.jsonl'
  path.write_text(path.read_text().replace('abc', 'abd'))
  with pytest.raises(conversations.DataError, match='pretrain.files, the tok'):
    _train(again)


def test_the_report_shows_how_files_were_cleaned(tmp_path):
  raw = _write(tmp_path / 'raw.jsonl', 60, 6)
  out = tmp_path / 'cleaned'
  clean_documents.main([raw, f'--out={out}', '--least-words=1'])
  path = str(out / 'documents.jsonl')
  context = _context(tmp_path, files=(raw, path))
  learnt_documents.open_store(context, 'pretrain', True)
  preparation.write_config(context.workdir, context.config)
  run_page.write_report(context.workdir)
  html = (context.workdir / 'report.html').read_text()
  assert f'<h2>pretrain: {path}</h2>' in html
  assert 'rules: one word again and again' in html
  assert f'<h2>pretrain: {raw}</h2>' not in html


def test_rows_grow_and_a_share_attends_to_all(long):
  context, _ = long
  store = learnt_documents.open_store(context, 'long_context', False)
  phases = document_rows.phases_of(context, 'long_context', store)
  # 64 tokens a step: 4 rows of 16, two at once; 2 of 32, one at once.
  assert [(p.first, p.row_tokens, p.rows, p.micro_rows) for p in phases] == [
    (0, 16, 4, 2),
    (2, 32, 2, 1),
  ]
  # 40 % of 8 rows and of 4.
  assert [int(p.plan.is_full.sum()) for p in phases] == [3, 2]
  for phase in phases:
    of_full = phase.plan.documents[phase.plan.starts[:-1]][phase.plan.is_full]
    assert store.is_long[of_full].all()
    assert not store.is_held_out[phase.plan.documents].any()
  for i, shape in ((1, (4, 16)), (2, (2, 32))):
    batch = pretrain._batch(context, phases, i)
    assert batch.tokens.shape == shape
  rows = [r for r in _rows(context) if 'text/held_out_loss' in r]
  assert all(
    {f'text/held_out_at_{n}' for n in (16, 32)} <= r.keys() for r in rows
  )
  # The loss of short rows is the one by domain.
  assert rows[0]['text/held_out_loss'] == rows[0]['text/held_out_at_16']


def test_long_context_goes_on_bit_for_bit_at_the_next_length(long, tmp_path):
  context = _context(tmp_path, 'long_context')
  loop = pretrain._loop
  calls = []

  def stop_at_the_border(context, stage, start):
    found = loop(context, stage, start)

    def batch(i):
      calls.append(i)
      if calls == [0, 1]:
        context.stop.set()
      return found.batch(i)

    return dataclasses.replace(found, batch=batch)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(pretrain, '_loop', stop_at_the_border)
    with pytest.raises(context_lib.Interrupted, match='saved after step 2'):
      _train(context, 'long_context')
  again = _context(tmp_path, 'long_context')
  _same(_train(again, 'long_context'), long[1])
  assert _rows(again) == _rows(long[0])


def test_the_base_of_the_positions_stays_with_the_model(tmp_path):
  context = _context(
    tmp_path,
    'long_context',
    steps=2,
    files=(_write(tmp_path / 'd.jsonl', 60, 6),),
  )
  assert context.shape.rope_theta == 10000.0
  assert pretrain.activated(context, 'sft') is context
  after = kinds.begun(context, 'long_context')
  assert after.shape.rope_theta == 1000000.0
  assert after.rollout_layout.shape.rope_theta == 1000000.0
  directory = kinds.train(after, 'long_context', None)
  shape = models.read_shape(directory)
  assert shape['rope_theta'] == 1000000.0
  # What begins with it has the base, whatever the config said.
  config = small_run.make_config(tmp_path, checkpoint=str(directory))
  context_lib.adopt_checkpoint(config)
  assert config.policy.rope_theta == 1000000.0
  written = json.loads((directory / 'config.json').read_text())
  assert written['max_position_embeddings'] == 32


def test_packed_is_unpacked(whole):
  """Loss and gradient of partial rows: documents apart, or a row for each."""
  context, _ = whole
  store = learnt_documents.open_store(context, 'pretrain', False)
  [phase] = document_rows.phases_of(context, 'pretrain', store)
  packed = phase.batches[1]
  alone = []
  for row in range(4):
    for s in range(1, packed['segment_ids'][row].max() + 1):
      own = packed['segment_ids'][row] == s
      alone.append(
        {
          key: np.pad(value[row][own], (0, 16 - own.sum()))
          for key, value in packed.items()
        }
      )
      alone[-1]['segment_ids'] = (np.arange(16) < own.sum()).astype(np.int32)
  alone += [{k: v * 0 for k, v in alone[0].items()}] * (len(alone) % 2)
  unpacked = {key: np.stack([row[key] for row in alone]) for key in packed}
  found = []
  for arrays in (packed, unpacked):
    optimizer = weights.make_optimizer(context.config, context.shape, 'adam')
    params = weights.init_params(context.layout, 0)
    state = weights.init_state(context.layout, optimizer, params, 0, 'pretrain')
    step = steps_lib.make_policy_step(
      context,
      functools.partial(pretrain._loss, 3),
      optimizer,
      optimizer_lib.constant_schedule(0.01, 0),
      jax.tree.map(lambda x: x.sharding, state),
    )
    with context.layout.use_mesh():
      found.append(step(state, batching.supervised(arrays))[1])
  for key in ('loss', 'grad_norm', 'tokens', 'nats_0', 'nats_2', 'tokens_1'):
    assert float(found[0][key]) == pytest.approx(float(found[1][key]), rel=1e-5)


def test_generated_documents_through_all_three_stages(tmp_path):
  """`experiments/whole_recipe.py:smoke`, up to the end of long context."""
  config = whole_recipe.get_config('smoke')
  assert config.stages[:4] == (*STAGES, 'sft')
  checks.validate(config, 8, arithmetic.KINDS)
  config.stages = STAGES
  config.task.update(train_problems=8, held_out_problems=8)
  config.sft.num_examples = 8
  config.documents.update(number=90, held_out_share=0.2)
  config.long_context.lengths = (64, 128)
  config.policy.update(num_layers=1, d_model=16, d_ff=32, num_heads=1)
  config.rollout.update(max_length=16, token_budget=16)
  config.rl.problems_per_iteration = 4
  config.evaluation.samples = 1
  for stage in STAGES:
    config[stage].update(steps=3, batch_tokens=512, warmup_steps=1)
  context = context_lib.make(config, tmp_path / 'run', threading.Event())
  preparation.write_config(context.workdir, config)
  summary = recipe.run(context)
  assert all(f'accuracy_after_{stage}' in summary for stage in STAGES)
  records = _rows(context)
  last = {row['stage']: row for row in records if 'text/held_out_loss' in row}
  assert tuple(last) == STAGES
  assert {f'text/needle_at_{n}' for n in (64, 128)} <= (
    last['long_context'].keys()
  )
  found = files.read_json(tmp_path / 'run/long_context/needles.json')
  assert [len(parts) for parts in found.values()] == [4, 4]
  domains = files.read_json(tmp_path / 'run/cooldown_tokens/mixture.json')
  assert domains['partial']['domains']['qa']['asked'] == pytest.approx(3 / 7)
  html = (tmp_path / 'run/report.html').read_text()
  titles = ['The way of the model', 'Pretraining', 'Cooldown: mixture']
  places = [html.index(title) for title in titles]
  assert places == sorted(places)
  shape = [models.read_shape(tmp_path / f'run/models/{s}') for s in STAGES]
  assert [s['rope_theta'] for s in shape] == [10000.0, 10000.0, 1000000.0]
