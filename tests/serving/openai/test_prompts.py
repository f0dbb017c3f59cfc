"""Prompts of a body: tokens that are bounded, and pictures never fetched."""

import base64
import io

import numpy as np
import openai_servers
import pytest
from PIL import Image

from k15.checkpoints import tokenizer as tokenizer_lib
from k15.serving.openai import prompts
from k15.serving.openai.body import Bad
from k15.vision import images as images_lib
from k15.vision.sight import Sight

BYTES = openai_servers.ChatBytes(sees=True)
# Pictures of 2 x 2 patches of 4 pixels make 4 tokens.
SIGHT = Sight(
  images_lib.Processor(4, 1, 16, 4096), BYTES.image_id, (64,), (60,), (62,)
)


def url_of(width=8, height=8, **options):
  file = io.BytesIO()
  Image.new('RGB', (width, height), 'red').save(file, 'PNG', **options)
  return 'data:image/png;base64,' + base64.b64encode(file.getvalue()).decode()


def part(url):
  return dict(type='image_url', image_url=dict(url=url))


def chat(*parts, sight=SIGHT, columns=64, **other):
  message = dict(role='user', content=list(parts)) | other
  return prompts.of_chat(dict(messages=[message]), BYTES, sight, columns)


def test_texts_and_tokens():
  def of(value):
    found = prompts.of_completion(dict(prompt=value), BYTES, 8)
    return [(prompt.tokens.tolist(), prompt.text) for prompt in found]

  assert of('ab') == [([97, 98], 'ab')]
  assert of([5, 6]) == [([5, 6], None)]
  assert of(['a', 'b']) == [([97], 'a'), ([98], 'b')]
  assert of([[5], [6, 7]]) == [([5], None), ([6, 7], None)]


@pytest.mark.parametrize(
  'value, sentence',
  [
    (None, 'prompt is None'),
    ([], r'prompt is \[\]'),
    ([[]], 'no text and no tokens'),
    ([1.5], 'no text and no tokens'),
    ([1, True], 'has the token True'),
    ([1, 2**40], 'has the token 1099511627776'),
    ([1, 'a'], "has the token 'a'"),
    (['a'] * 513, '1 to 512'),
    ('a' * 257, '257 characters; this model takes 8 tokens, and 256'),
    ([1] * 9, '9 tokens for 8 columns'),
  ],
)
def test_what_is_no_prompt(value, sentence):
  with pytest.raises(Bad, match=sentence):
    prompts.of_completion(dict(prompt=value), BYTES, 8)


def test_a_chat_in_the_template_of_the_model():
  body = dict(
    messages=[
      dict(role='developer', content='be brief', name=None),
      dict(role='user', content=[dict(type='text', text='hi')]),
    ]
  )
  found = prompts.of_chat(body, BYTES, None, 64)
  assert found.text == 'sbe brief\nuhi\na'
  assert found.tokens.tolist() == list(found.text.encode())
  bare = tokenizer_lib.ByteTokenizer()
  with pytest.raises(Bad, match='no chat template'):
    prompts.of_chat(body, bare, None, 64)


def test_pictures_stand_where_they_were():
  found = chat(dict(type='text', text='see'), part(url_of()))
  # 'usee', the marks around 4 placeholders, '\na'.
  own = [60, *[BYTES.image_id] * 4, 62]
  assert found.tokens.tolist() == [*b'usee', *own, *b'\na']
  assert found.pixels[0].shape == (8, 8, 3)
  assert found.images[0].digest == images_lib.digest(found.pixels[0])
  assert chat(part(url_of()), part(url_of(16, 8))).images[1].width == 16


@pytest.mark.parametrize(
  'parts, sentence',
  [
    ([part('http://127.0.0.1/a.png')], 'nothing is fetched'),
    ([part('file:///etc/passwd')], 'nothing is fetched'),
    ([part('data:text/html;base64,QQ==')], 'nothing is fetched'),
    ([part('data:image/png;base64,!!')], 'base64|Only|padding'),
    ([part('data:image/png;base64,QQ==')], 'no picture'),
    ([part(5)], 'without a url'),
    ([dict(type='image_url', image_url=dict(url='a', detail='low'))], 'detail'),
    ([part(url_of(400, 1))], 'one side is over 200 times'),
    ([part(url_of(4097, 4096))], '4096 x 4097 pixels, more than 16777216'),
    ([part(url_of())] * 17, 'more than 16 pictures'),
    ([part(url_of()), dict(type='text', text='<image>')], '1 <image> beside'),
    ([dict(type='audio')], "type 'audio'"),
    ([dict(type='text', text=5)], "type 'text'"),
    ([], 'content is'),
    (['a'], 'content is'),
  ],
)
def test_parts_that_are_refused(parts, sentence):
  with pytest.raises(Bad, match=sentence):
    chat(*parts)


def test_messages_that_are_refused():
  with pytest.raises(Bad, match='this model sees none'):
    chat(part(url_of()), sight=None)
  with pytest.raises(Bad, match="role 'tool'"):
    chat(dict(type='text', text='a'), role='tool')
  with pytest.raises(Bad, match="has 'tool_calls'"):
    chat(dict(type='text', text='a'), tool_calls=[1])
  with pytest.raises(Bad, match='refuses: nobody asks'):
    chat(dict(type='text', text='a'), role='assistant')
  with pytest.raises(Bad, match='2049 characters'):
    chat(content='a' * 2049)
  with pytest.raises(Bad, match='messages is None'):
    prompts.of_chat({}, BYTES, None, 8)
  assert np.ndim(chat(content='a').tokens) == 1
