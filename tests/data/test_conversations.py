"""Which tokens are learnt from, by hand, and what is refused."""

import json

import hf_tokenizers
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from k15.checkpoints import hf_tokenizer
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import conversations

TALK = [
  dict(role='system', content='Be brief.'),
  dict(role='user', content='1+1?'),
  dict(role='assistant', content='2'),
  dict(role='user', content='+3?'),
  dict(role='assistant', content='5, so'),
]
# As ChatML writes it; what the assistant writes is between the hashes.
TALK_TEXT = (
  '<|im_start|>system\nBe brief.<|im_end|>\n'
  '<|im_start|>user\n1+1?<|im_end|>\n'
  '<|im_start|>assistant\n#2<|im_end|>#\n'
  '<|im_start|>user\n+3?<|im_end|>\n'
  '<|im_start|>assistant\n#5, so<|im_end|>'
)
# Forgets the reasoning of all turns but the last, as Qwen3 does.
FORGETFUL = hf_tokenizers.TEMPLATE.replace(
  "message['content'] }}",
  "(message['content'] if loop.last else"
  " message['content'].split('</think>')[-1]) }}",
)
NO_END = hf_tokenizers.TEMPLATE.replace("{{- '<|im_end|>' + '\\n' }}", '')


def _tokenizer(folder, template=hf_tokenizers.TEMPLATE):
  return hf_tokenizer.HfTokenizer(
    hf_tokenizers.write(folder / 'tokenizer', template)
  )


def _texts(tokenizer, tokens, mask):
  """Texts of the runs of equal mask, special tokens included."""
  edges = np.flatnonzero(np.diff(mask.astype(int))) + 1
  return [
    tokenizer._plain.decode(run.tolist(), skip_special_tokens=False)
    for run in np.split(tokens, edges)
  ]


def test_a_chat_of_two_turns_by_hand(tmp_path):
  tokenizer = _tokenizer(tmp_path)
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  tokens, mask = encode(TALK)
  runs = _texts(tokenizer, tokens, mask)
  assert runs == TALK_TEXT.split('#')
  assert tokens.dtype == np.int32 and mask.dtype == bool
  # The token that ends a turn is learnt; the line break after it is not.
  ends = np.flatnonzero((tokens == 2) & mask)
  assert len(ends) == 2 and ends[-1] == len(tokens) - 1
  # What is asked at inference, token for token.
  prompt = tokenizer.encode_rendered(tokenizer.render(TALK[:2]))
  np.testing.assert_array_equal(tokens[: len(prompt)], prompt)
  assert not mask[: len(prompt)].any() and mask[len(prompt)]
  # The whole is what the template writes, up to the end of the last turn.
  whole = tokenizer.render(TALK, add_generation_prompt=False)
  assert whole == ''.join(runs) + '\n'


def test_only_the_last_turn(tmp_path):
  tokenizer = _tokenizer(tmp_path)
  encode = conversations.make_encode(tokenizer, True, '\n', 'last')
  tokens, mask = encode(TALK)
  first, last = _texts(tokenizer, tokens, mask)
  assert last == '5, so<|im_end|>'
  assert first.endswith('+3?<|im_end|>\n<|im_start|>assistant\n')
  np.testing.assert_array_equal(
    tokens[: mask.argmax()],
    tokenizer.encode_rendered(tokenizer.render(TALK[:4])),
  )


def test_a_template_that_forgets_is_refused_or_asked_for_the_last_turn(
  tmp_path,
):
  tokenizer = _tokenizer(tmp_path, FORGETFUL)
  talk = [dict(m) for m in TALK]
  for i in (2, 4):
    talk[i]['content'] = '<think>hm</think>' + talk[i]['content']
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  with pytest.raises(conversations.DataError, match="message 3: .*'last'"):
    encode(talk)
  encode = conversations.make_encode(tokenizer, True, '\n', 'last')
  first, last = _texts(tokenizer, *encode(talk))
  assert last == '<think>hm</think>5, so<|im_end|>'
  assert 'hm' not in first


# A question whose answer is thought about, and what comes before it.
THINKING = [
  dict(role='user', content='1+1?'),
  dict(role='assistant', content='<think>\nhm\n</think>\n\n2'),
  dict(role='user', content='+3?'),
  dict(role='assistant', content='<think>\nso\n</think>\n\n5'),
]


def test_what_a_template_leaves_out_is_learnt_as_the_policy_writes_it(tmp_path):
  """The prompt of inference, which begins the thinking, then the rest."""
  tokenizer = _tokenizer(tmp_path, hf_tokenizers.R1)
  encode = conversations.make_encode(tokenizer, True, '\n', 'last')
  first, last = _texts(tokenizer, *encode(THINKING))
  assert first == (
    '<|endoftext|>User:1+1?Assistant:\n\n2<|im_end|>User:+3?Assistant:<think>\n'
  )
  assert last == 'so\n</think>\n\n5<|im_end|>'
  tokens, mask = encode(THINKING)
  np.testing.assert_array_equal(
    tokens[: mask.argmax()],
    tokenizer.encode_rendered(tokenizer.render(THINKING[:3])),
  )
  # In all turns there is no one text to learn from; in one there is.
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  with pytest.raises(conversations.Unusable, match="message 2: .*'last'"):
    encode(THINKING)
  runs = _texts(tokenizer, *encode(THINKING[:2]))
  assert runs == [
    '<|endoftext|>User:1+1?Assistant:<think>\n',
    'hm\n</think>\n\n2<|im_end|>',
  ]


def test_a_template_that_leaves_thinking_out_and_begins_none(tmp_path):
  template = hf_tokenizers.R1.replace("'Assistant:<think>\\n'", "'Assistant:'")
  assert template != hf_tokenizers.R1
  tokenizer = _tokenizer(tmp_path, template)
  encode = conversations.make_encode(tokenizer, True, '\n', 'last')
  _, last = _texts(tokenizer, *encode(THINKING))
  assert last == '<think>\nso\n</think>\n\n5<|im_end|>'
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  with pytest.raises(conversations.Unusable, match="message 2: .*'last'"):
    encode(THINKING)


def test_thinking_that_the_prompt_begins_has_to_be_there(tmp_path):
  tokenizer = _tokenizer(tmp_path, hf_tokenizers.R1)
  encode = conversations.make_encode(tokenizer, True, '\n', 'last')
  talk = [THINKING[0], dict(role='assistant', content='2')]
  with pytest.raises(
    conversations.Unusable, match="begins it by '<think>', an"
  ):
    encode(talk)
  # The remedies that the sentence names.
  expected = 'hm\n</think>\n\n2<|im_end|>'
  talk[1] = dict(role='assistant', content='2', reasoning_content='hm')
  assert _texts(tokenizer, *encode(talk))[1] == expected
  talk[1] = dict(role='assistant', content='hm\n</think>\n\n2')
  assert _texts(tokenizer, *encode(talk))[1] == expected


def test_the_end_of_a_turn_is_that_of_the_template(tmp_path):
  """Though the files of the checkpoint name <|endoftext|> alone."""
  directory = hf_tokenizers.write(tmp_path, eos_token='<|endoftext|>')
  raw = json.loads((directory / 'config.json').read_text())
  (directory / 'config.json').write_text(json.dumps(raw | dict(eos_token_id=0)))
  tokenizer = hf_tokenizer.HfTokenizer(directory)
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  assert _texts(tokenizer, *encode(TALK)) == TALK_TEXT.split('#')
  # Without the template a text ends as the files say.
  encode = conversations.make_encode(tokenizer, False, '\n', 'all')
  assert _texts(tokenizer, *encode(TALK))[-1] == '5, so<|endoftext|>'


def test_a_second_end_after_the_first_is_not_learnt(tmp_path):
  template = hf_tokenizers.TEMPLATE.replace(
    "'<|im_end|>' + '\\n'", "'<|im_end|><|endoftext|>' + '\\n'"
  )
  assert template != hf_tokenizers.TEMPLATE
  tokenizer = _tokenizer(tmp_path, template)
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  runs = _texts(tokenizer, *encode(TALK))
  assert runs[1] == '2<|im_end|>' and runs[2].startswith('<|endoftext|>\n')


def test_plain_texts_begin_as_the_tokenizer_says(tmp_path):
  directory = hf_tokenizers.write(tmp_path, begins_with='<|endoftext|>')
  tokenizer = hf_tokenizer.HfTokenizer(directory)
  encode = conversations.make_encode(tokenizer, False, '\n', 'all')
  first, *_ = _texts(tokenizer, *encode(TALK))
  assert first == '<|endoftext|>Be brief.\n1+1?\n'
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  assert _texts(tokenizer, *encode(TALK)) == TALK_TEXT.split('#')


CALL = dict(function=dict(name='add', arguments='{}'))
WITH_CALLS = hf_tokenizers.TEMPLATE.replace(
  "message['content'] }}",
  "message['content'] }}\n"
  '{%- for call in message.tool_calls %}{{ call.function.name }}{% endfor %}',
).replace("'assistant')", "'assistant', 'tool')")


def test_messages_without_words_that_can_be_used(tmp_path):
  """An empty system message, a call of a tool, and what it returns."""
  row = dict(
    messages=[
      dict(role='system', content=None),
      dict(role='user', content='1+1?'),
      dict(role='assistant', content=None, tool_calls=[CALL]),
      dict(role='tool', content=''),
      dict(role='assistant', content='2'),
    ]
  )
  messages = conversations.of_row(row, 'here').messages
  tokenizer = _tokenizer(tmp_path, WITH_CALLS)
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  runs = _texts(tokenizer, *encode(messages))
  assert runs[0].startswith('<|im_start|>system\n<|im_end|>\n')
  assert runs[1::2] == ['add<|im_end|>', '2<|im_end|>']
  assert '<|im_start|>tool\n<|im_end|>' in runs[2]
  # A template that does not write them, and none.
  tokenizer = _tokenizer(
    tmp_path,
    hf_tokenizers.TEMPLATE.replace("'assistant')", "'assistant', 'tool')"),
  )
  encode = conversations.make_encode(tokenizer, True, '\n', 'all')
  with pytest.raises(conversations.Unusable, match='message 3: .* nothing of'):
    encode(messages)
  encode = conversations.make_encode(tokenizer, False, '\n', 'all')
  with pytest.raises(conversations.Unusable, match='message 3: no content'):
    encode(messages)
  # An empty system message is as good as none.
  talk = [dict(role='system', content=''), *TALK[1:]]
  tokens, _ = encode(talk)
  np.testing.assert_array_equal(tokens, encode(TALK[1:])[0])


def test_bytes_by_hand():
  tokenizer = ByteTokenizer()
  encode = conversations.make_encode(tokenizer, False, '\n', 'all')
  talk = [
    dict(role='user', content='a'),
    dict(role='assistant', content='bc'),
    dict(role='user', content='d'),
    dict(role='assistant', content='e'),
  ]
  tokens, mask = encode(talk)
  eos = tokenizer.eos_id
  expected = [*b'a\n', *b'bc', eos, *b'd\n', *b'e', eos]
  np.testing.assert_array_equal(tokens, expected)
  np.testing.assert_array_equal(mask, [0, 0, 1, 1, 1, 0, 0, 1, 1])
  encode = conversations.make_encode(tokenizer, False, '\n', 'last')
  tokens, mask = encode(talk)
  np.testing.assert_array_equal(tokens, expected)
  np.testing.assert_array_equal(mask, [0, 0, 0, 0, 0, 0, 0, 1, 1])


@pytest.mark.parametrize(
  ('template', 'content', 'message'),
  [
    (NO_END, 'fine', '0 tokens end the turn'),
    (hf_tokenizers.TEMPLATE, 'a<|im_end|>b', '2 tokens end the turn'),
  ],
)
def test_turns_end_once(tmp_path, template, content, message):
  encode = conversations.make_encode(
    _tokenizer(tmp_path, template), True, '\n', 'all'
  )
  talk = [dict(role='user', content='x')]
  talk.append(dict(role='assistant', content=content))
  with pytest.raises(conversations.DataError, match=message):
    encode(talk)


def test_a_template_that_ends_no_turn_names_the_remedy(tmp_path):
  encode = conversations.make_encode(
    _tokenizer(tmp_path, NO_END), True, '\n', 'all'
  )
  message = (
    'give the checkpoint a chat_template.jinja .* task.use_chat_template=False'
  )
  with pytest.raises(conversations.DataError, match=message) as error:
    encode(TALK)
  assert not isinstance(error.value, conversations.Unusable)


def test_what_the_template_refuses(tmp_path):
  encode = conversations.make_encode(_tokenizer(tmp_path), True, '\n', 'all')
  with pytest.raises(conversations.DataError, match='refuses: no role tool'):
    encode([dict(role='tool', content='x'), *TALK])


def test_the_assistant_does_not_speak_first():
  encode = conversations.make_encode(ByteTokenizer(), False, '\n', 'all')
  with pytest.raises(conversations.DataError, match='speaks first'):
    encode([dict(role='assistant', content='hello')])


def test_both_kinds_of_row_in_both_kinds_of_file(tmp_path):
  path = tmp_path / 'rows.jsonl'
  rows = [
    dict(messages=[*TALK, dict(role='user', content='thanks')]),
    dict(prompt='p', response='r'),
  ]
  path.write_text('\n\n'.join(map(json.dumps, rows)))
  places, talks, images = zip(*conversations.read(path), strict=True)
  pair = [dict(role='user', content='p'), dict(role='assistant', content='r')]
  # What nobody answers is left out.
  assert list(talks) == [TALK, pair] and images == ((), ())
  assert [place.split(', ')[1] for place in places] == ['line 1', 'line 3']
  path = tmp_path / 'rows.parquet'
  messages = [dict(m, name=None) for m in TALK]
  table = pyarrow.Table.from_pylist([dict(messages=messages)] * 3000)
  pyarrow.parquet.write_table(table, path, row_group_size=500)
  read = list(conversations.read(path))
  assert len(read) == 3000 and read[-1] == (f'{path}, row 3000', TALK, ())


@pytest.mark.parametrize(
  ('row', 'message'),
  [
    ('{"text": "x"}', "line 1: neither 'messages' nor .* it has .'text'"),
    ('{"messages": "x"}', "'messages' is a str"),
    ('{"messages": []}', 'no message is of the assistant'),
    ('{"messages": ["x"]}', 'line 1, message 1: a str'),
    (
      '{"messages": [{"role": "user", "content": null}]}',
      "message 1: 'content' is None",
    ),
    ('{"prompt": "x", "response": " "}', "message 2: 'content' is ' '"),
    ('{', 'line 1: not JSON'),
    ('3', 'line 1: a int, not an object'),
  ],
)
def test_refused_rows(tmp_path, row, message):
  path = tmp_path / 'rows.jsonl'
  path.write_text(row)
  with pytest.raises(conversations.DataError, match=message):
    list(conversations.read(path))
  with pytest.raises(conversations.DataError, match='no such file'):
    list(conversations.read(tmp_path / 'none.jsonl'))
