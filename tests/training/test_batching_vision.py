"""Packed rows with pictures learn what their sequences learn, each alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_pictures
import small_tower

from k15.equations import losses
from k15.model import heads
from k15.training import batching
from k15.training import update
from k15.vision import images as images_lib
from k15.vision.shown_rows import Shown
from k15.vision.shown_rows import Span

CONFIG = small_tower.config_of('deep')
SHELF = small_pictures.Shelf()
# Of 8, 8 and 24 patches, four of which make a token.
FIRST, SECOND, LARGE = SHELF.add(1, 2), SHELF.add(1, 2, 1), SHELF.add(2, 3)
LENGTH, PATCHES, MOST = 64, 40, 10
SHOWN = Shown(small_pictures.sight_of(CONFIG), SHELF, PATCHES)
PROMPTS = (FIRST, SECOND), (FIRST,), (LARGE,), ()


def prompt_of(images):
  return small_pictures.request(*images, seed=len(images)).prompt


def sequences(images, count, seed):
  """Responses to one prompt; some of their tokens are not in the loss."""
  rng = np.random.default_rng(seed)

  def one():
    length = int(rng.integers(3, 6))
    mask = rng.random(length) < 0.7
    mask[-1] = True
    return batching.Sequence(
      prompt_of(images), rng.integers(0, 59, length, np.int32), mask,
      float(rng.normal()), 0.2, 0.1, images=images,
    )  # fmt: skip

  return [one() for _ in range(count)]


def one_each():
  """A response to each prompt."""
  return [sequences(seen, 1, i)[0] for i, seen in enumerate(PROMPTS)]


def pack(each, num_rows=1, shown=SHOWN):
  return batching.pack(each, num_rows, LENGTH, MOST, shown)


@jax.jit
def learnt_of_row(params, row):
  def loss(params):
    logprobs, _ = heads.token_logprobs(
      CONFIG, params, row.tokens, row.positions, row.segment_ids, 1.0,
      row.prompt_ids, row.loss_mask, row.images,
    )  # fmt: skip
    value, _ = losses.policy_mirror_descent(
      logprobs, row.ref_logprobs, row.segment_ids, row.loss_mask,
      row.advantage, row.pg_weight, row.reg_weight, 0.3,
    )  # fmt: skip
    return value, logprobs

  return jax.value_and_grad(loss, has_aux=True)(params)


def learnt(*batches):
  """Log-probabilities by response, which its advantage names; the summed loss
  and its gradient.  Rows are computed one by one: all run one program."""
  params = jax.tree.map(jnp.asarray, small_tower.random_params(CONFIG))
  found, total = {}, None
  for batch in batches:
    for i in range(int(batch.num_rows)):
      row = update.take_rows(batch, i, 1)
      (value, logprobs), grads = learnt_of_row(params, row)
      own = jax.tree.map(np.asarray, (value, grads))
      total = own if total is None else jax.tree.map(np.add, total, own)
      for (column,) in np.argwhere(batch.advantage[i]):
        here = (batch.segment_ids[i] == column + 1) & (batch.loss_mask[i] > 0)
        name = float(batch.advantage[i, column])
        found[name] = np.asarray(logprobs)[0, here]
  return found, *total


def assert_same(ours, theirs):
  (logprobs, loss, grads), (expected, their_loss, their_grads) = ours, theirs
  assert logprobs.keys() == expected.keys()
  for name, values in logprobs.items():
    # Beyond 4 a float32 has steps of 5e-7.
    np.testing.assert_allclose(values, expected[name], rtol=5e-7, atol=1e-6)
  np.testing.assert_allclose(loss, their_loss, rtol=1e-5)
  # The tower's among them, and none is nothing.
  for own, other in zip(
    jax.tree.leaves(grads), jax.tree.leaves(their_grads), strict=True
  ):
    most = np.abs(other).max()
    assert most > 1e-5
    np.testing.assert_allclose(own, other, atol=2e-5 * most)


def alone(each):
  return learnt(*(pack([one]) for one in each))


def seen_of(batch, row=0):
  """Patches in use, and how many pictures they are of."""
  numbers = batch.images.numbers[row]
  return int((numbers > 0).sum()), len(set(numbers[numbers > 0].tolist()))


def test_packed_is_unpacked():
  """Two pictures in a prompt, one that two prompts show, and a text."""
  batch = pack(one_each())
  assert batch.num_rows == 1 and batch.segment_ids.max() == 4
  assert seen_of(batch) == (40, 3)
  assert_same(learnt(batch), alone(one_each()))


def test_a_picture_stands_once_for_all_that_show_it():
  batch = pack(sequences((FIRST,), 3, 0))
  assert seen_of(batch) == (8, 1)
  index = batch.images.index[0]
  assert index[index >= 0].tolist() == [0, 1] * 3
  # The same pictures in another order are the same features.
  both = (FIRST, SECOND), (SECOND, FIRST)
  turned = pack([sequences(seen, 1, i)[0] for i, seen in enumerate(both)])
  assert seen_of(turned) == (16, 2)
  index = turned.images.index[0]
  assert index[index >= 0].tolist() == [0, 1, 2, 3, 2, 3, 0, 1]


def groups():
  return [sequences(seen, 2 + i % 2, 10 + i) for i, seen in enumerate(PROMPTS)]


def test_responses_that_share_a_prompt_with_pictures_are_as_alone():
  """Behind it they are rotated by column + delta, wherever they lie."""
  batch = batching.pack_groups(groups(), 3, LENGTH, MOST, SHOWN)
  assert 1 < batch.num_rows < 4 and batch.prompt_ids is not None
  each = [sequence for group in groups() for sequence in group]
  assert_same(learnt(batch), alone(each))
  rotary = batch.images.positions
  for row, column in np.argwhere(batch.advantage):
    here = batch.segment_ids[row] == column + 1
    behind = rotary[row, here] - batch.positions[row, here][:, None]
    # Time, row and column are one number again, at most that of a text.
    assert (behind == behind[0]).all() and behind.max() <= 0
  assert rotary.min() >= 0


def test_pairs_stay_together():
  pairs = [tuple(sequences(seen, 2, 20 + i)) for i, seen in enumerate(PROMPTS)]
  batch = batching.pack_pairs(pairs, 4, LENGTH, MOST // 2, SHOWN)
  each = [sequence for pair in pairs for sequence in pair]
  assert seen_of(batch)[0] <= PATCHES and batch.num_rows == 2
  assert_same(learnt(batch), alone(each))
  for pair in pairs:
    names = np.float32([sequence.advantage for sequence in pair])
    row, first = np.argwhere(batch.advantage == names[0])[0]
    assert first % 2 == 0 and batch.advantage[row, first + 1] == names[1]


def test_a_row_has_room_for_so_many_patches():
  """Tokens would fit one row: 24 patches need two."""
  small = dataclasses.replace(SHOWN, row_patches=24)
  for batch in (
    pack(one_each(), 3, small),
    batching.pack_groups([[one] for one in one_each()], 3, LENGTH, MOST, small),
  ):
    assert batch.num_rows == 2
    assert sorted(seen_of(batch, row) for row in range(2)) == [(16, 2), (24, 1)]
    assert batch.images.patches.shape == (3, 24, 3 * 2 * 2)
  # What a row shows already takes no room in it.
  twice = [*sequences((LARGE,), 2, 0), *sequences((), 1, 1)]
  assert pack(twice, 1, small).num_rows == 1


def test_too_many_patches_are_refused_with_their_numbers():
  both = sequences((LARGE, SECOND), 1, 0)
  small = dataclasses.replace(SHOWN, row_patches=28)
  sentence = '2 pictures have 32 patches, more than the 28 of vision.row_patch'
  for make in (
    lambda: pack(both, 1, small),
    lambda: batching.pack_groups([both], 1, LENGTH, MOST, small),
    lambda: batching.pack_pairs([tuple(both * 2)], 1, LENGTH, 1, small),
  ):
    with pytest.raises(images_lib.BadImage, match=sentence):
      make()
  tokens = prompt_of((LARGE, SECOND))[None]
  span = Span(0, 0, tokens.size, tokens.size, (LARGE, SECOND))
  with pytest.raises(
    images_lib.BadImage, match='32 patches of 2 pictures, and a row has room fo'
  ):
    small.rows(tokens, np.arange(tokens.size)[None], [span])
  cut = tokens[:, :-5]  # Some of the second picture's placeholders are gone.
  with pytest.raises(images_lib.BadImage, match='placeholders of pictures'):
    span = dataclasses.replace(span, end=cut.size, behind=cut.size)
    SHOWN.rows(cut, np.arange(cut.size)[None], [span])


def test_texts_alone_have_the_same_arrays():
  """All batches of a policy that sees run one program."""
  texts, seen = pack(sequences((), 2, 0)), pack(one_each())
  assert jax.tree.map(jnp.shape, texts) == jax.tree.map(jnp.shape, seen)
  assert seen_of(texts) == (0, 0)
  rotary = texts.images.positions
  assert (rotary == texts.positions[:, :, None]).all()
