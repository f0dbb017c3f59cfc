"""A checkpoint's tokenizer: round trips, special tokens, the chat template."""

import json
import threading

import hf_tokenizers
import numpy as np
import pytest

from k15.checkpoints.hf_tokenizer import HfTokenizer

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
  (directory / 'generation_config.json').write_text('{"eos_token_id": 0}')
  assert HfTokenizer(directory).eos_ids == (END, STOP)
  assert tokenizer.pad_id == tokenizer.eos_id == STOP


def _rewrite(path, **changes):
  raw = json.loads(path.read_text()) | changes
  path.write_text(json.dumps(raw))


def test_the_template_says_what_ends_a_turn(tmp_path):
  """As in Qwen2.5's base models, whose files name <|endoftext|> alone."""
  directory = hf_tokenizers.write(tmp_path, eos_token='<|endoftext|>')
  _rewrite(directory / 'config.json', eos_token_id=END)
  tokenizer = HfTokenizer(directory)
  assert tokenizer.eos_ids == (END, STOP)
  assert (tokenizer.eos_id, tokenizer.turn_end_id) == (END, STOP)
  assert tokenizer.decode([*tokenizer.encode('is'), STOP, END]) == 'is'
  for template in (
    "{{ messages[-1]['content'] }}",  # No end.
    "{{ messages[-1]['content'] + '[end]' }}",  # No token.
    "{{ raise_exception('not such a chat') }}",
    None,
  ):
    hf_tokenizers.write(tmp_path, template, eos_token='<|endoftext|>')
    _rewrite(directory / 'config.json', eos_token_id=END)
    tokenizer = HfTokenizer(directory)
    assert tokenizer.eos_ids == (END,)
    assert tokenizer.eos_id == tokenizer.turn_end_id == END


def test_an_end_that_is_not_marked_as_special(tmp_path):
  directory = hf_tokenizers.write(tmp_path, eos_token='<|endoftext|>')
  path = directory / 'tokenizer.json'
  added = json.loads(path.read_text())['added_tokens']
  added[STOP]['special'] = False
  _rewrite(path, added_tokens=added)
  tokenizer = HfTokenizer(directory)
  assert tokenizer.turn_end_id == STOP
  assert tokenizer.decode([*tokenizer.encode('is'), STOP]) == 'is'


def test_older_files_name_special_tokens_elsewhere(tmp_path):
  directory = hf_tokenizers.write(tmp_path, template=None)
  _rewrite(directory / 'config.json', eos_token_id=None)
  _rewrite(directory / 'tokenizer_config.json', eos_token=None, pad_token=None)
  with pytest.raises(ValueError, match='names no end-of-sequence id: neither'):
    HfTokenizer(directory)
  legacy = dict(eos_token=dict(content='<|im_end|>'), pad_token='<|endoftext|>')
  (directory / 'special_tokens_map.json').write_text(json.dumps(legacy))
  tokenizer = HfTokenizer(directory)
  assert (tokenizer.eos_ids, tokenizer.pad_id) == ((STOP,), END)


def test_a_text_begins_as_the_post_processor_says(tmp_path, tokenizer):
  plain = tokenizer.encode('is').tolist()
  assert tokenizer.begin('is').tolist() == plain
  # The setting says otherwise, which transformers 5 does not ask for.
  directory = hf_tokenizers.write(
    tmp_path, hf_tokenizers.R1, begins_with='<|endoftext|>', add_bos_token=False
  )
  other = HfTokenizer(directory)
  assert other.begin('is').tolist() == [END, *plain]
  assert other.begin('is').dtype == np.int32
  assert other.encode('is').tolist() == plain
  # In a chat the template writes it, once.
  assert other.encode_rendered(other.render(QUESTION)).tolist().count(END) == 1
  assert other.begin('').tolist() == [END]


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
  assert (
    tokenizer.encode_rendered(tokenizer.render(QUESTION)).tolist() == expected
  )
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


# As SmolVLM's: of a content that is a text it writes nothing.
PARTS = (
  "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
  "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}"
  "{{ ': ' }}{% endif %}{% for line in message['content'] %}"
  "{% if line['type'] == 'text' %}{{ line['text'] }}"
  "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
  '<|endoftext|>{% endfor %}'
  "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@pytest.mark.parametrize(
  'content, expected',
  [
    ('<image>what is it', ':<image>what is it'),
    ('a <image><image> b<image>', ': a <image><image> b<image>'),
    ('no picture', ': no picture'),
    ('', ': '),
  ],
)
def test_a_template_may_ask_for_parts(content, expected, tmp_path):
  directory = hf_tokenizers.write(tmp_path, template=None)
  text = json.dumps(dict(chat_template=PARTS))
  (directory / 'chat_template.json').write_text(text)
  tokenizer = HfTokenizer(directory)
  text = tokenizer.render([dict(role='user', content=content)])
  assert text == f'<|im_start|>User{expected}<|endoftext|>Assistant:'
  assert tokenizer.turn_end_id == END


GENERATION = hf_tokenizers.TEMPLATE.replace(
  "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] }}",
  "{{- '<|im_start|>' + message['role'] + '\\n' }}"
  "{%- generation -%}{{- message['content'] }}{%- endgeneration -%}",
)


def test_generation_blocks_change_nothing(tmp_path, tokenizer):
  assert 'endgeneration' in GENERATION
  other = HfTokenizer(hf_tokenizers.write(tmp_path, GENERATION))
  talk = [*QUESTION, dict(role='assistant', content='4')]
  assert other.render(talk) == tokenizer.render(talk)
  assert other.turn_end_id == STOP
  hf_tokenizers.write(tmp_path, '{% generation %}{{ x }}')
  with pytest.raises(ValueError, match='config.json: the chat template: Un'):
    HfTokenizer(tmp_path)


def test_what_templates_of_the_hub_ask(tmp_path):
  """As transformers answers: tools that are none, JSON in its forms, a date.

  The date is always the same, so that a resumed run has the same prompts.
  """
  template = (
    '{% if tools is not none or documents is not none %}tools{% endif %}'
    "{{ strftime_now('%d %b %Y') }}"
    "{{ {'b': 'é<', 'a': [1]} | tojson(sort_keys=true, "
    "separators=(',', ':')) }}"
    "{{ {'a': 'é'} | tojson(ensure_ascii=true) }}"
    '{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}'
    '{% endfor %}{{ bos_token is defined }}'
  )
  tokenizer = HfTokenizer(hf_tokenizers.write(tmp_path, template))
  assert tokenizer.render(QUESTION) == (
    '26 Jul 2024{"a":[1],"b":"é<"}{"a": "\\u00e9"}01False'
  )


ODD_TEMPLATES = [
  (3, 'chat_template is 3, and has to be a text'),
  ([], 'no .default.; the one that is meant can be written to chat_template.'),
  ([dict(name='rag', template='x')], r"has \['rag'\] and no 'default'"),
  (dict(rag='x'), r"has \['rag'\] and no 'default'"),
  (dict(default=[1]), 'chat_template is .*, and has to be a text'),
  (['x'], "has to be a text, or objects with 'name' and 'template'"),
  ([dict(name='default')], "has to be a text, or objects with 'name' and"),
]


@pytest.mark.parametrize('template, message', ODD_TEMPLATES)
def test_odd_templates_are_refused_in_a_sentence(template, message, tmp_path):
  directory = hf_tokenizers.write(tmp_path, template)
  with pytest.raises(ValueError, match=f'tokenizer_config.json: .*{message}'):
    HfTokenizer(directory)
  (directory / 'chat_template.jinja').write_text('{{ messages[0].content }}')
  assert HfTokenizer(directory).render(QUESTION) == 'What is 2+2?'


def test_templates_as_an_object(tmp_path):
  directory = hf_tokenizers.write(tmp_path, dict(default='a', tool_use='b'))
  assert HfTokenizer(directory).render(QUESTION) == 'a'


@pytest.mark.parametrize(
  'template',
  [
    '{{ 1 + messages[0].content }}',
    '{{ messages[9].content }}',
    "{{ messages[0].content['a']['b'] }}",
    '{{ 1 // 0 }}',
    '{{ none() }}',
    "{{ raise_exception('two\nlines') }}",
  ],
)
def test_whatever_goes_wrong_in_a_template_is_a_sentence(template, tmp_path):
  tokenizer = HfTokenizer(hf_tokenizers.write(tmp_path, template))
  with pytest.raises(ValueError, match='^the chat template refuses: .*$'):
    tokenizer.render(QUESTION)


@pytest.mark.parametrize('key', ['bos_token', 'eos_token', 'pad_token'])
@pytest.mark.parametrize('odd', [3, True, [], ['x'], dict(content=3)])
def test_odd_special_tokens_are_refused_in_a_sentence(key, odd, tmp_path):
  directory = hf_tokenizers.write(tmp_path, **{key: odd})
  message = f'tokenizer_config.json: .*{key}.* has to be a text'
  with pytest.raises(ValueError, match=message):
    HfTokenizer(directory)


@pytest.mark.parametrize(
  'name',
  [
    'config.json', 'generation_config.json', 'tokenizer_config.json',
    'special_tokens_map.json', 'tokenizer.json', 'chat_template.jinja',
  ],
)  # fmt: skip
@pytest.mark.parametrize('raw', [b'{', b'[]', b'null', b'\xff', b'{% if', None])
def test_odd_files_are_refused_in_a_sentence(name, raw, tmp_path):
  path = hf_tokenizers.write(tmp_path) / name
  path.unlink(missing_ok=True)
  if raw is None:
    path.mkdir()
  else:
    path.write_bytes(raw)
  if name == 'chat_template.jinja' and raw in (b'{', b'[]', b'null'):
    HfTokenizer(tmp_path)  # A template that writes this.
    return
  with pytest.raises(ValueError) as error:
    HfTokenizer(tmp_path)
  assert name in str(error.value) and '\n' not in str(error.value)


def test_padding_that_is_none(tmp_path):
  directory = hf_tokenizers.write(tmp_path, pad_token=None)
  _rewrite(directory / 'config.json', pad_token_id=-1)
  assert HfTokenizer(directory).pad_id == STOP
  _rewrite(directory / 'config.json', pad_token_id=320)
  with pytest.raises(ValueError, match='id 320 that is padding is not below'):
    HfTokenizer(directory)


def test_threads_do_not_disturb_each_other(tokenizer):
  plain = tokenizer.encode('<|im_end|>').tolist()
  chat = tokenizer.encode_rendered(tokenizer.render(QUESTION)).tolist()
  wrong = []

  def work():
    for _ in range(200):
      if tokenizer.encode('<|im_end|>').tolist() != plain:
        wrong.append('plain')
      if tokenizer.encode_rendered(tokenizer.render(QUESTION)).tolist() != chat:
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
    HfTokenizer(directory).render(QUESTION)
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
