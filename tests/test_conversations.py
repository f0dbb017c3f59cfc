"""Which tokens are learnt from, by hand, and what is refused."""

import json

import hf_tokenizers
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from k15 import conversations
from k15 import hf_tokenizer
from k15.tokenizer import ByteTokenizer

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
  prompt = tokenizer.encode_chat(TALK[:2])
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
    tokens[: mask.argmax()], tokenizer.encode_chat(TALK[:4])
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
  places, talks = zip(*conversations.read(path), strict=True)
  pair = [dict(role='user', content='p'), dict(role='assistant', content='r')]
  # What nobody answers is left out.
  assert list(talks) == [TALK, pair]
  assert [place.split(', ')[1] for place in places] == ['line 1', 'line 3']
  path = tmp_path / 'rows.parquet'
  messages = [dict(m, name=None) for m in TALK]
  table = pyarrow.Table.from_pylist([dict(messages=messages)] * 3000)
  pyarrow.parquet.write_table(table, path, row_group_size=500)
  read = list(conversations.read(path))
  assert len(read) == 3000 and read[-1] == (f'{path}, row 3000', TALK)


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
