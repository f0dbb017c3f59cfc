"""Requests with pictures, through the queue, the slots and the feature cache.

Equal words before other pictures, one encoding for all who show a picture,
responses that are interrupted at every token, and new weights of the tower.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_pictures
import small_tower
from small_pictures import make_decoder
from small_pictures import request

from k15.model import heads
from k15.rollout import backend as backend_lib
from k15.rollout import local
from k15.rollout import requests as requests_lib
from k15.rollout.scheduler import Scheduler

CONFIG = small_tower.config_of('deep')
SHELF = small_pictures.Shelf()
# As many features, other pixels; and one of another patch bucket.
FIRST, SECOND = SHELF.add(1, 2, 0), SHELF.add(1, 2, 1)
LARGE = SHELF.add(2, 3)


@functools.cache
def params_of(seed=1):
  return jax.tree.map(jnp.asarray, small_tower.random_params(CONFIG, seed))


def make(decoder=None, params=None):
  backend = backend_lib.SlotBackend(decoder or make_decoder(), SHELF)
  scheduler = Scheduler(backend)
  scheduler.set_params(params or params_of(), 0)
  return scheduler, backend


def finish(scheduler, requests=(), chunks=()):
  """Completions by request."""
  for asked in requests:
    scheduler.submit(asked)
  works, done, chunks = {}, {}, list(chunks)
  while chunks or not scheduler.is_idle:
    for chunk in chunks or scheduler.step():
      asked = chunk.request
      work = works.setdefault(asked, requests_lib.Work(asked, asked))
      work.chunks.append(chunk)
      if work.is_done:
        done[asked] = works.pop(asked).completion()
    chunks = []
  return done


def alone(asked, **settings):
  scheduler, _ = make(**settings)
  return finish(scheduler, [asked])[asked]


def test_equal_words_before_other_pictures_are_other_contexts():
  asked = [request(image) for image in (FIRST, SECOND, LARGE)]
  asked += [request(FIRST, SECOND), request(SECOND, FIRST)]
  scheduler, backend = make()
  done = finish(scheduler, asked)
  assert len({done[r].tokens.tobytes() for r in asked}) == 5
  assert backend.counts == dict(images_encoded=3, image_tokens=2 + 2 + 6 + 8)
  # Beside others, in one prefill and in neighbouring slots, as by itself.
  for r in asked:
    one = alone(r)
    np.testing.assert_array_equal(done[r].tokens, one.tokens)
    np.testing.assert_allclose(done[r].logprobs, one.logprobs, atol=2e-6)


def test_eight_samples_encode_and_prefill_once():
  scheduler, backend = make()
  asked = [request(FIRST, sample_index=i) for i in range(8)]
  done = finish(scheduler, asked)
  assert backend.counts['images_encoded'] == 1
  assert scheduler.stats()['prefill_calls'] == 1
  assert len({done[r].tokens.tobytes() for r in asked}) > 1


def test_texts_run_the_program_of_texts():
  scheduler, backend = make()
  text, seen = request(), request(FIRST)
  # 64 tokens of text and 8 patches: not one prefill.
  assert backend.bucket_of(requests_lib.context_of(text)) == (32, 0)
  assert backend.bucket_of(requests_lib.context_of(seen)) == (32, 8)
  done = finish(scheduler, [text, seen])
  assert scheduler.stats()['prefill_calls'] == 2
  plain = make_decoder(sight=None)
  np.testing.assert_array_equal(
    done[text].tokens, alone(text, decoder=plain).tokens
  )


@pytest.mark.parametrize('image', [FIRST, LARGE])
def test_interrupted_at_every_token_it_goes_on_as_in_one_shot(image):
  asked = request(image)
  whole = alone(asked)
  scheduler, backend = make(make_decoder(tokens_per_call=1))
  made, rest = [], asked
  while len(made) < asked.budget:
    scheduler.submit(rest)
    (chunk,) = scheduler.step()
    made += chunk.tokens.tolist()
    scheduler.interrupt()
    rest = dataclasses.replace(
      asked,
      response=np.array(made, np.int32),
      budget=asked.budget - len(made) or 1,
    )
  np.testing.assert_array_equal(made, whole.tokens)
  assert backend.counts['images_encoded'] == 1


def test_new_weights_of_the_tower_alone_change_what_is_seen():
  other = params_of() | dict(vision=params_of(2)['vision'])
  asked = request(FIRST)
  before, after = alone(asked), alone(asked, params=other)
  assert np.abs(before.logprobs[0] - after.logprobs[0]) > 1e-4
  scheduler, backend = make()
  finish(scheduler, [request(FIRST)])
  scheduler.set_params(other, 1)
  found = finish(scheduler, [asked])[asked]
  np.testing.assert_array_equal(found.tokens, after.tokens)
  np.testing.assert_array_equal(found.logprobs, after.logprobs)
  assert backend.counts['images_encoded'] == 2


@pytest.mark.parametrize('live', ['interrupt', 'in_flight'])
def test_live_responses_meet_new_weights_as_they_are_told(live):
  other = params_of() | dict(vision=params_of(2)['vision'])
  asked = request(FIRST)
  scheduler, backend = make()
  scheduler.submit(asked)
  chunks = scheduler.step()
  scheduler.set_params(other, 1, live)
  done = finish(scheduler, chunks=chunks)[asked]
  assert [s.policy_version for s in done.segments] == [0, 1]
  # The head and the layers are the same: who keeps what it has seen goes on.
  same = np.array_equal(done.tokens, alone(asked).tokens)
  assert same == (live == 'in_flight')
  assert backend.counts['images_encoded'] == 1 + (live == 'interrupt')
  rest = dataclasses.replace(
    asked, response=done.tokens[:4], budget=asked.budget - 4
  )
  if live == 'interrupt':
    new = alone(rest, params=other)
    np.testing.assert_array_equal(done.tokens[4:], new.tokens)


def test_what_is_kept_is_bounded_in_bytes():
  sight = small_pictures.sight_of(CONFIG)
  # Room for one picture of the small bucket: 2 features and 2 deep ones.
  one = 2 * 32 * 4 * 3
  decoder = make_decoder(
    sight=dataclasses.replace(sight, cache_bytes=one), num_slots=1
  )
  scheduler, backend = make(decoder)
  for image in (FIRST, FIRST, SECOND, FIRST):
    finish(scheduler, [request(image, seed=int(image is SECOND))])
  assert backend.counts['images_encoded'] == 3
  finish(scheduler, [request(LARGE), request(LARGE, seed=3)])
  assert backend._features._bytes <= one


@pytest.mark.parametrize('name', ['deep', 'windows', 'tiny'])
def test_training_sees_the_log_probabilities_of_the_rollout(name):
  config = small_tower.config_of(name)
  shelf = small_pictures.Shelf()
  sight = small_pictures.sight_of(config)
  refs = shelf.add(2, 2, name=name), shelf.add(1, 2, name=name)
  tokens = np.array([3, 9, 60, 7, 60, 8, 2], np.int32)
  prompt = small_pictures.expand(sight, tokens, refs)
  asked = request(prompt=prompt, images=refs)
  # Two orders of summation in float32: with weights of 0.2 twelve draws differ
  # by up to 3.6e-6, texts by 2.9e-6, at log-probabilities of 2 to 6, in steps
  # of 5e-7 at most; with 0.1 by 1.4e-6, and other pictures change them by 0.3.
  params = small_tower.random_params(config, std=0.1)
  rollout = local.LocalRollout(
    make_decoder(name), jax.random.key(3), pictures=shelf
  )
  rollout.set_params(params, 2)
  (done,) = rollout.generate([asked])
  assert rollout.pop_stats()['images_encoded'] == 2
  whole = np.concatenate([asked.prompt, done.tokens])
  row = small_tower.row_of(config, [whole], [[shelf[r.digest] for r in refs]])
  padded, columns, ids, images = row
  values, _ = jax.jit(heads.token_logprobs, static_argnums=0)(
    config, params, padded, columns, ids, images=images
  )
  values = values[0, len(asked.prompt) : len(whole)]
  np.testing.assert_allclose(values, done.logprobs, rtol=0, atol=2e-6)


def test_warm_up_compiles_all_that_pictures_need():
  decoder, params = make_decoder(columns=39), params_of()
  backend_lib.warm_up(decoder, params, pictures=SHELF)
  size = decoder.prefill._cache_size()
  scheduler, _ = make(decoder)
  finish(scheduler, [request(), request(FIRST), request(LARGE)])
  finish(scheduler, [request(LARGE, before=12)])
  assert decoder.prefill._cache_size() == size


IMAGE, VIDEO = small_tower.IMAGE, small_tower.VIDEO
TEXT = np.array([1, 2, 3], np.int32)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(prompt=TEXT), '0 placeholders .* the 1 pictures have 2 tokens'),
    (dict(images=()), '2 placeholders .* the 0 pictures have 0 tokens'),
    (dict(prompt=np.array([1, IMAGE, 2])), '1 placeholders'),
    (dict(prompt=np.array([IMAGE, 1, IMAGE, 2])), 'cut pictures of .2. tokens'),
    (dict(prompt=np.array([1, IMAGE, IMAGE])), 'ends in a picture'),
    (
      dict(prompt=np.array([VIDEO, IMAGE, IMAGE, 2])),
      'the placeholder 61 stands in a prompt',
    ),
    (
      dict(response=np.array([4, IMAGE, VIDEO])),
      'the response has 2 placeholders of pictures',
    ),
  ],
)
def test_what_does_not_fit_is_refused(changes, message):
  _, backend = make()
  asked = dataclasses.replace(request(FIRST), **changes)
  with pytest.raises(ValueError, match=f'response 1/0.*{message}'):
    backend.check(asked)


def test_pictures_nobody_has_or_sees_are_refused():
  _, backend = make()
  lost = dataclasses.replace(FIRST, digest='ab' * 32)
  with pytest.raises(ValueError, match='no picture abab'):
    backend.check(request(lost))
  with pytest.raises(ValueError, match='3 pictures have 72 patches, more than'):
    backend.check(request(*[LARGE] * 3))
  blind = backend_lib.SlotBackend(make_decoder(sight=None))
  with pytest.raises(ValueError, match='1 pictures, and the policy sees none'):
    blind.check(request(FIRST))
