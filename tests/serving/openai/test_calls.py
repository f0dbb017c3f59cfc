"""Calls with pictures: they are where the driver looks when it is asked."""

import asyncio
import json
import types

import numpy as np
import openai_servers

from k15.rollout.requests import Chunk, Request, Stop
from k15.serving.openai import answers
from k15.serving.openai import body
from k15.serving.openai import calls
from k15.serving.openai.prompts import Prompt
from k15.serving.sent_pictures import SentPictures
from k15.serving.service import Served
from k15.serving.streams import Limits
from k15.serving.streams import Load
from k15.vision import references

BYTES = openai_servers.ChatBytes()


class Driver:
  """Answers each request with a letter and an end, and notes it."""

  def __init__(self, pictures):
    self.pictures, self.asked = pictures, []

  def submit_all(self, requests, deliver):
    for request in requests:
      shown = [self.pictures[image.digest] for image in request.images]
      self.asked.append((request, shown))
      tokens = np.array([97, BYTES.eos_id], np.int32)
      logprobs = np.zeros(2, np.float32)
      deliver(Chunk(request, tokens, logprobs, 0, Stop.ENDED))


def answer(pixels, most_bytes):
  """Status, object of the answer, and what the driver was asked."""
  images = tuple(references.of_pixels(p, 'sent') for p in pixels)
  tokens = np.arange(3, dtype=np.int32)
  asked = body.asked({}, body.CHAT)
  request = Request(0, 0, tokens, tokens[:0], 5, images=images)
  call = calls.Call(
    asked,
    answers.Head(body.CHAT, 'a', 0, 'tiny', 1),
    [Prompt(tokens, None, images, tuple(pixels))],
    [request],
  )
  pictures, sent = SentPictures(most_bytes), []
  driver = Driver(pictures)
  served = Served(driver, None, None, Limits(), Load(Limits()), pictures)

  async def send(message):
    sent.append(message)

  async def receive():
    await asyncio.sleep(60)
    return types.MappingProxyType(dict(type='http.disconnect'))

  async def run():
    await calls.Answer(call, served, BYTES, None, 30.0, set())(
      {}, receive, send
    )

  asyncio.run(run())
  assert served.load.requests == 0
  return sent[0]['status'], json.loads(sent[1]['body']), driver.asked


def test_pictures_come_before_their_request():
  pixels = [np.full((4, 4, 3), value, np.uint8) for value in (1, 2)]
  status, found, ((_, shown),) = answer(pixels, 96)
  assert status == 200
  assert found['choices'][0]['message']['content'] == 'a'
  assert found['choices'][0]['finish_reason'] == 'stop'
  assert found['usage']['completion_tokens'] == 2
  np.testing.assert_array_equal(shown, pixels)


def test_pictures_without_room_are_refused():
  """None of a call's own pictures makes room for the next of it."""
  pixels = [np.full((4, 4, 3), value, np.uint8) for value in (1, 2)]
  status, found, asked = answer(pixels, 95)
  assert (status, asked) == (429, [])
  assert '48 bytes of a picture beside 48' in found['error']['message']
