"""A checkpoint's tokenizer: round trips, special tokens, the chat template."""

import json
import threading

import hf_tokenizers
import numpy as np
import pytest

from k15.hf_tokenizer import HfTokenizer

END, START, STOP = 0, 1, 2  # Ids in the order of SPECIAL.
QUESTION = [dict(role='user', content='What is 2+2?')]


@pytest.fixture(scope='module')
def directory(tmp_path_factory):
  return hf_tokenizers.write(tmp_path_factory.mktemp('tokenizer'))


@pytest.fixture(scope='module')
def tokenizer(directory):
  return HfTokenizer(directory)


@pytest.mark.parametrize(
  'text', ['', 'the answer is 4', 'naïve ∑ 數學 🙂\n\t x', '<|im_end|>']
)
def test_any_text_comes_back(text, tokenizer):
  ids = tokenizer.encode(text)
  assert ids.dtype == np.int32
  assert not {END, START, STOP} & set(ids.tolist())
  assert tokenizer.decode(ids) == text


def test_ids_are_those_of_the_files(tokenizer):
  assert (tokenizer.eos_id, tokenizer.eos_ids) == (STOP, (STOP,))
  assert tokenizer.pad_id == END
  assert tokenizer.vocab_size == 320  # Of config.json, above the 300.


def test_generation_config_may_name_several_ends(tmp_path):
  directory = hf_tokenizers.write(tmp_path, pad_token=None)
  given = dict(eos_token_id=[STOP, END])
  (directory / 'generation_config.json').write_text(json.dumps(given))
  tokenizer = HfTokenizer(directory)
  assert tokenizer.eos_ids == (STOP, END)
  assert tokenizer.pad_id == tokenizer.eos_id == STOP


def test_any_ids_can_be_decoded(tokenizer):
  text = tokenizer.encode('is').tolist()
  ids = [-1, START, *text, 319, 1 << 30, STOP]
  assert tokenizer.decode(ids) == 'is'
  assert tokenizer.decode(np.array(ids)) == 'is'
  assert tokenizer.decode([tokenizer.encode('é')[0]]) == '\ufffd'
  assert tokenizer.decode(tokenizer.encode('\ud800')) == '?'


def test_the_chat_template_by_hand(tokenizer):
  text = '<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n'
  assert tokenizer.render(QUESTION) == text
  plain = tokenizer.encode
  expected = [START, *plain('user\nWhat is 2+2?'), STOP, *plain('\n')]
  expected += [START, *plain('assistant\n')]
  assert tokenizer.encode_chat(QUESTION).tolist() == expected
  assert tokenizer.render(QUESTION, enable_thinking=False).endswith(
    'assistant\n<think>\n\n</think>\n\n'
  )


def test_a_template_may_be_a_file_or_one_of_several(tmp_path):
  several = [
    dict(name='tool_use', template='no'),
    dict(name='default', template='{{ messages[0].content | tojson }}é<'),
  ]
  directory = hf_tokenizers.write(tmp_path, template=several)
  assert HfTokenizer(directory).render(QUESTION) == '"What is 2+2?"é<'
  (directory / 'chat_template.jinja').write_text('{{ eos_token }}')
  assert HfTokenizer(directory).render(QUESTION) == '<|im_end|>'


def test_threads_do_not_disturb_each_other(tokenizer):
  plain = tokenizer.encode('<|im_end|>').tolist()
  chat = tokenizer.encode_chat(QUESTION).tolist()
  wrong = []

  def work():
    for _ in range(200):
      if tokenizer.encode('<|im_end|>').tolist() != plain:
        wrong.append('plain')
      if tokenizer.encode_chat(QUESTION).tolist() != chat:
        wrong.append('chat')

  threads = [threading.Thread(target=work) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert wrong == []


def test_mistakes_are_named(tmp_path, tokenizer):
  with pytest.raises(ValueError, match='refuses: no role tool'):
    tokenizer.render([dict(role='tool', content='')])
  directory = hf_tokenizers.write(tmp_path, template=None)
  with pytest.raises(ValueError, match='has no chat template'):
    HfTokenizer(directory).encode_chat(QUESTION)
  hf_tokenizers.write(tmp_path, template='{% if %}')
  with pytest.raises(ValueError, match='the chat template: Expected'):
    HfTokenizer(directory)
  hf_tokenizers.write(tmp_path, vocab_size=200)
  with pytest.raises(ValueError, match='is not below vocab_size 200'):
    HfTokenizer(directory)
  (directory / 'tokenizer.json').write_text('{')
  with pytest.raises(ValueError, match='tokenizer.json is malformed'):
    HfTokenizer(directory)
  (directory / 'tokenizer.json').unlink()
  with pytest.raises(ValueError, match='has no tokenizer.json'):
    HfTokenizer(directory)


def test_a_template_cannot_reach_the_interpreter(tmp_path):
  bad = '{{ messages.__class__.__mro__[1].__subclasses__() }}'
  tokenizer = HfTokenizer(hf_tokenizers.write(tmp_path, template=bad))
  with pytest.raises(ValueError, match='unsafe'):
    tokenizer.render(QUESTION)
