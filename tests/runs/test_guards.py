"""What a training step must not do unnoticed: move data, or promote ranks.

An array that a step takes from the host by itself is sent again each time;
operands of different ranks hide an axis in the wrong place.
"""

import jax
import small_run

from k15 import recipe
from k15.training import update


def test_steps_send_nothing_and_promote_no_ranks(tmp_path, monkeypatch):
  """SFT and RL, every update and every reference log-probability of theirs."""
  calls = []

  def guarded(make):
    def make_guarded(*arguments, **settings):
      function = make(*arguments, **settings)

      def call(*arguments):
        # One flag, which says whether the reference is current.
        arguments = [
          jax.device_put(x) if isinstance(x, bool) else x for x in arguments
        ]
        calls.append(make.__name__)
        with (
          jax.transfer_guard('disallow'),
          jax.numpy_rank_promotion('raise'),
        ):
          return function(*arguments)

      return call

    return make_guarded

  for make in (update.make_step, update.make_logprobs):
    monkeypatch.setattr(update, make.__name__, guarded(make))
  context = small_run.make_context(
    tmp_path, rl__iterations=2, rollout__token_budget=16
  )
  recipe.run(context)
  assert {name: calls.count(name) for name in set(calls)} == {
    'make_step': 4 + 2 * 2,  # Of SFT; of two iterations, two each.
    'make_logprobs': 2,  # Of all updates of an iteration but the first.
  }
