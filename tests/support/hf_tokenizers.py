"""A small byte-level tokenizer with a chat template, as a checkpoint has it."""

import json

import hf_checkpoints
import tokenizers

SPECIAL = '<|endoftext|>', '<|im_start|>', '<|im_end|>'
TEMPLATE = """{%- for message in messages %}
    {%- if message.role not in ('system', 'user', 'assistant') %}
        {{- raise_exception('no role ' + message.role) }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] }}
    {{- '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""


# As the distilled models of DeepSeek-R1: the thinking of earlier turns is left
# out, that of the last one too, and the prompt begins it.
R1 = """{{- '<|endoftext|>' }}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- 'User:' + message.content }}
    {%- elif message.role == 'assistant' %}
        {{- 'Assistant:' + message.content.split('</think>')[-1] }}
        {{- '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'Assistant:<think>\\n' }}
{%- endif %}
"""


def write(
  directory, template=TEMPLATE, vocab_size=320, begins_with=None,
  special=SPECIAL, **settings,
):  # fmt: skip
  """A checkpoint without weights: tokenizer, template, config.json.

  Args:
    directory: to write to.
    template: of chats.
    vocab_size: of config.json.
    begins_with: special token that the post-processor puts before a text.
    special: tokens, from id 0 on.
    **settings: others of tokenizer_config.json.
  """
  directory.mkdir(parents=True, exist_ok=True)
  tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
  level = tokenizers.pre_tokenizers.ByteLevel
  tokenizer.pre_tokenizer = level(add_prefix_space=False)
  tokenizer.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=300,
    special_tokens=list(special),
    initial_alphabet=sorted(level.alphabet()),
    show_progress=False,
  )
  texts = ['user assistant system the answer is the sum of the numbers'] * 9
  tokenizer.train_from_iterator(texts, trainer)
  if begins_with:
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
      single=f'{begins_with} $A',
      special_tokens=[(begins_with, SPECIAL.index(begins_with))],
    )
  tokenizer.save(str(directory / 'tokenizer.json'))
  settings = (
    dict(
      tokenizer_class='PreTrainedTokenizerFast',
      eos_token='<|im_end|>',
      pad_token='<|endoftext|>',
      chat_template=template,
    )
    | settings
  )
  (directory / 'tokenizer_config.json').write_text(json.dumps(settings))
  config = hf_checkpoints.CASES['qwen2'] | dict(
    vocab_size=vocab_size, eos_token_id=2
  )
  (directory / 'config.json').write_text(json.dumps(config))
  return directory
