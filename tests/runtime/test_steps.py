"""The loop of supervised stages, around one number instead of a model."""

import contextlib
import types

import jax
import jax.numpy as jnp
import pytest

from k15 import files
from k15.data_types import TrainState
from k15.runtime import context as context_lib
from k15.runtime import steps
from k15.training import logs


class Counter:
  """Gives 1, 2, 3, ... and remembers where it is, as a stream of batches."""

  def __init__(self):
    self.given = 0

  def get_state(self):
    return dict(given=self.given)

  def set_state(self, state):
    self.given = state['given']

  def __next__(self):
    self.given += 1
    return self.given


def _context(folder, stop_after=10**6, every=3):
  """Asked to stop once so many steps have been taken."""
  asked = iter(range(1, 10**6))
  saving = types.SimpleNamespace(keep=2, every_sft_steps=every)
  return types.SimpleNamespace(
    workdir=folder,
    config=types.SimpleNamespace(saving=saving),
    logger=logs.Logger(folder),
    is_stopping=lambda: next(asked) >= stop_after,
    layout=types.SimpleNamespace(use_mesh=contextlib.nullcontext),
  )


def _run(context, num_steps=8, bad_step=None, counter=None, known=True):
  """State x becomes 3 x + batch, so that order and number of batches show."""
  counter = counter or Counter()

  def make_step(optimizer, schedule, layout):
    assert optimizer == 'an optimizer'
    # One cosine from the third step, the first at the full rate, to the last.
    assert schedule(2) == 1.0 and schedule(num_steps - 1) == pytest.approx(0.1)
    assert layout.params == jnp.zeros(()).sharding

    def step(state, batch):
      loss = float('nan') if batch == bad_step else 1.0 / batch
      values = dict(loss=loss, grad_norm=1.0)
      state = state.replace(params=3 * state.params + batch)
      return state, jax.tree.map(jnp.asarray, values)

    return step

  loop = steps.Loop(
    steps=num_steps,
    log_every=4,
    batch=lambda i: next(counter),
    make_step=make_step,
    name_metrics=lambda values: {'toy/loss': values['loss']},
    source=counter,
  )
  zero = TrainState(jnp.zeros((), jnp.int32), None, jnp.zeros(()))
  return steps.run(
    context,
    'toy',
    types.SimpleNamespace(
      steps=num_steps if known else 0,
      learning_rate=1.0,
      end_learning_rate=0.1,
      warmup_steps=2,
    ),
    'an optimizer',
    lambda start: loop,
    lambda: zero,
    lambda: zero,
    lambda: None,
    0 if known else 3,
  )


def _logged(folder):
  return [
    (r['step'], r['toy/loss'])
    for r in files.read_jsonl(folder / 'metrics.jsonl')
  ]


# ((0 * 3 + 1) * 3 + 2) * 3 + ...: batch n is tripled 8 - n times afterwards.
WHOLE = sum(3 ** (8 - n) * n for n in range(1, 9))


@pytest.mark.parametrize('known', [True, False])
def test_a_stage_takes_its_steps_and_logs_some(tmp_path, known):
  state = _run(_context(tmp_path), known=known)
  assert int(state.params) == WHOLE
  # Steps 0 and 4 by `log_every`, and the last one.
  assert _logged(tmp_path) == [(0, 1.0), (4, pytest.approx(1 / 5)), (7, 1 / 8)]
  saved = {p.name for p in (tmp_path / 'checkpoints' / 'toy').iterdir()}
  assert saved == {'6', '8'}  # after 3, 6 and the last; two are kept


@pytest.mark.parametrize('stop_after', [1, 3, 5, 7])
def test_it_goes_on_where_it_was_asked_to_stop(tmp_path, stop_after):
  with pytest.raises(
    context_lib.Interrupted, match=f'toy: saved after step {stop_after}'
  ):
    _run(_context(tmp_path, stop_after))
  assert int(_run(_context(tmp_path)).params) == WHOLE
  assert [step for step, _ in _logged(tmp_path)] == [0, 4, 7]


def test_a_kill_costs_the_steps_since_the_last_checkpoint(tmp_path):
  class Killed(BaseException):
    pass

  class Fatal(Counter):
    def __next__(self):
      if self.given == 5:
        raise Killed
      return super().__next__()

  with pytest.raises(Killed):
    _run(_context(tmp_path), counter=Fatal())
  assert [step for step, _ in _logged(tmp_path)] == [0, 4]
  # Saved after step 3: what was logged of the fifth is taken back.
  assert int(_run(_context(tmp_path)).params) == WHOLE
  assert [step for step, _ in _logged(tmp_path)] == [0, 4, 7]


def test_a_finished_stage_prepares_nothing(tmp_path):
  _run(_context(tmp_path))
  state = steps.run(
    _context(tmp_path),
    'toy',
    types.SimpleNamespace(steps=8),
    'an optimizer',
    lambda start: pytest.fail('prepared'),
    lambda: TrainState(jnp.zeros((), jnp.int32), None, jnp.zeros(())),
    lambda: pytest.fail('made anew'),
    lambda: None,
  )
  assert int(state.params) == WHOLE


def test_a_stage_of_no_steps_gives_what_it_began_with(tmp_path):
  assert int(_run(_context(tmp_path), num_steps=0).params) == 0
  assert not (tmp_path / 'metrics.jsonl').exists()


def test_a_loss_that_is_not_finite_ends_it_before_it_is_logged(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(
    steps.update, 'save_batch', lambda folder, name, batch: f'{name}: {batch}'
  )
  with pytest.raises(FloatingPointError, match='toy step 4: .* in toy-4: 5'):
    _run(_context(tmp_path), bad_step=5)
  assert _logged(tmp_path) == [(0, 1.0)]
