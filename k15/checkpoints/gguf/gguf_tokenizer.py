"""tokenizer.json and tokenizer_config.json of a GGUF file.

Byte-level BPE alone, of the four ways to split a text into words that models
of these architectures have.  They are those of the models' own tokenizers.
"""

from typing import Any

import tokenizers
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import processors

from k15.checkpoints.hf_fields import Fields

_KEYS = 'tokenizer.ggml.'
# Types of tokens: what is not here is a text like any other.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
_QWEN2 = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
_LLAMA3 = _QWEN2.replace(r'|\p{N}|', r'|\p{N}{1,3}|')  # Digits by three.
# What a special token is there -> what it is called here.
_SPECIAL = {
  'bos_token_id': 'bos_token',
  'eos_token_id': 'eos_token',
  'unknown_token_id': 'unk_token',
  'padding_token_id': 'pad_token',
}


def read(fields: Fields) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
  """The tokenizer, and the contents of tokenizer_config.json.

  Args:
    fields: of the file.

  Raises:
    ValueError: another kind of tokenizer, or a malformed one.
  """
  if fields.text(f'{_KEYS}model') != 'gpt2':
    raise fields.refuse(f'{_KEYS}model', "'gpt2', byte-level BPE")
  # It would change the tokens of every text, and no byte-level tokenizer of
  # these models has it.
  if fields.flag(f'{_KEYS}add_space_prefix', False):
    raise fields.refuse(f'{_KEYS}add_space_prefix', 'false')
  tokens, kinds = _tokens(fields)
  pre = fields.text(f'{_KEYS}pre') or 'gpt-2'
  tokenizer = tokenizers.Tokenizer(_model(fields, tokens, kinds, pre))
  split = _split(fields, pre)
  tokenizer.pre_tokenizer = split
  if pre == 'qwen2':  # It composes letters and accents.
    tokenizer.normalizer = normalizers.NFC()
  tokenizer.decoder = tokenizers.decoders.ByteLevel()
  for kind in (_CONTROL, _USER_DEFINED):
    tokenizer.add_tokens(
      [
        tokenizers.AddedToken(text, normalized=False, special=kind == _CONTROL)
        for text, own in zip(tokens, kinds, strict=True)
        if own == kind
      ]
    )
  special = _special(fields, tokens)
  tokenizer.post_processor = _post_processor(fields, tokens, pre)
  return tokenizer, _settings(fields, special)


def _tokens(fields):
  """Texts and types, by id."""
  tokens = fields.texts(f'{_KEYS}tokens')
  kinds = fields.values.get(f'{_KEYS}token_type') or [1] * len(tokens)
  if not tokens:
    raise ValueError(f'{fields.where} has no {_KEYS}tokens')
  if not isinstance(kinds, list) or len(kinds) != len(tokens):
    raise fields.refuse(f'{_KEYS}token_type', f'{len(tokens)} types of tokens')
  return tokens, kinds


def _model(fields, tokens, kinds, pre):
  vocab = {
    text: i
    for i, (text, kind) in enumerate(zip(tokens, kinds, strict=True))
    if kind != _UNUSED  # They fill the rows of the embedding.
  }
  merges = [tuple(x.split(' ')) for x in fields.texts(f'{_KEYS}merges')]
  if len(vocab) != len(tokens) - kinds.count(_UNUSED):
    raise ValueError(f'{fields.where}: {_KEYS}tokens has a text twice')
  if not all(len(merge) == 2 for merge in merges):
    raise ValueError(
      f'{fields.where}: {_KEYS}merges has one that is not two texts with a'
      ' space between them'
    )
  try:
    # Llama 3 takes a word that is a token as it is, also where merging its
    # pieces would end elsewhere.
    return tokenizers.models.BPE(
      vocab, merges, ignore_merges=pre == 'llama-bpe'
    )
  except Exception as error:  # The library raises nothing narrower.
    raise ValueError(f'{fields.where}: {_KEYS}merges: {error}') from None


def _split(fields, pre):
  """How a text is split before pieces are merged."""
  words = {
    'gpt-2': [],
    'smollm': [pre_tokenizers.Digits(individual_digits=True)],
    'qwen2': [_by(_QWEN2)],
    'llama-bpe': [_by(_LLAMA3)],
  }
  if pre not in words:
    raise fields.refuse(f'{_KEYS}pre', f'one of {list(words)}')
  level = pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=pre in ('gpt-2', 'smollm')
  )
  return pre_tokenizers.Sequence([*words[pre], level])


def _by(pattern):
  return pre_tokenizers.Split(tokenizers.Regex(pattern), 'isolated')


def _special(fields, tokens):
  """Name such as 'eos_token' -> text."""
  found = {}
  for key, name in _SPECIAL.items():
    i = fields.id(_KEYS + key)
    if i is not None and i >= len(tokens):
      raise fields.refuse(_KEYS + key, f'below {len(tokens)}, of the tokens')
    if i is not None:
      found[name] = tokens[i]
  return found


def _post_processor(fields, tokens, pre):
  """Puts what begins and ends a text around it."""
  level = processors.ByteLevel(trim_offsets=False)
  flags = {
    # llama.cpp begins a text so where the file does not say.
    'bos': fields.flag(f'{_KEYS}add_bos_token', pre == 'llama-bpe'),
    'eos': fields.flag(f'{_KEYS}add_eos_token', False),
  }
  around = {}
  for name, is_added in flags.items():
    key = f'{_KEYS}{name}_token_id'
    if is_added and fields.id(key) is None:
      raise fields.refuse(key, f'an id, as add_{name}_token is true')
    around[name] = [tokens[fields.id(key)]] if is_added else []
  if not any(around.values()):
    return level
  template = processors.TemplateProcessing(
    single=[*around['bos'], '$A', *around['eos']],
    pair=[*around['bos'], '$A', *around['eos'], *around['bos'], '$B:1'],
    special_tokens=[
      (text, tokens.index(text)) for text in {*sum(around.values(), [])}
    ],
  )
  return processors.Sequence([level, template])


def _settings(fields, special):
  settings = dict(
    tokenizer_class='PreTrainedTokenizerFast',
    clean_up_tokenization_spaces=False,
    **special,
  )
  template = fields.text('tokenizer.chat_template')
  if template:
    settings['chat_template'] = template
  return settings
