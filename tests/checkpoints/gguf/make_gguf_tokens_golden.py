"""Writes gguf_tokens_golden.json: what llama.cpp makes of texts.

Run where xllamacpp is installed, with SmolLM2's file: python
tests/checkpoints/gguf/make_gguf_tokens_golden.py MODEL.gguf

transformers reads such files too, but does not take the digits of this
tokenizer one by one: spaces before a digit become other tokens.
"""

import json
import pathlib
import random
import sys
import urllib.request

import xllamacpp

GOLDEN = pathlib.Path(__file__).with_name('gguf_tokens_golden.json')
PORT = 18473
TEXT = (
  "I'm we'll THEY'RE 'tis O'Brien naïve e\u0301 ﬁ Straße ΑΒΓ привет мир"
  ' こんにちは 世界 안녕하세요 مرحبا שלום हिन्दी x² H₂O foo_bar CamelCase --'
  r' == != ... ,,, #include $x^2+1$ \frac{1}{2} http://a.b/c?d=1&e=%20 f(x):'
)
WORDS = TEXT.split()
SPECIAL = '<|im_start|>', '<|im_end|>', '<|endoftext|>', '<repo_name>'
SPACES = (' ', '  ', '\t', '\n', '\r\n', '\n\n', '\u00a0', '\u2003', '\u3000')
EMOJI = ('😀', '👩‍🚀', '🏳️‍🌈', '🇩🇪', '👍🏽', '❤️')
PLANES = (0x20, 0x250), (0x250, 0x3000), (0x3000, 0xD800), (0x1F300, 0x1FB00)


def text(rng):
  """Words, numbers, spaces, any characters, special tokens, in any order."""
  kinds = [
    lambda: rng.choice(WORDS),
    lambda: ' ' + rng.choice(WORDS),
    lambda: str(rng.randrange(10 ** rng.randrange(1, 9))),
    lambda: f'{rng.random() * 100:.3f}',
    lambda: ''.join(rng.choices('٣४ⅧⅣ½²９012', k=3)),
    lambda: ''.join(rng.choices(SPACES, k=rng.randrange(1, 4))),
    lambda: chr(rng.randrange(*rng.choice(PLANES))),
    lambda: rng.choice(SPECIAL),
    lambda: rng.choice(EMOJI),
  ]
  return ''.join(rng.choice(kinds)() for _ in range(rng.randrange(1, 9)))


def tokens(url, content, parse_special):
  body = dict(content=content, add_special=False, parse_special=parse_special)
  request = urllib.request.Request(
    f'{url}/tokenize',
    json.dumps(body).encode(),
    {'Content-Type': 'application/json'},
  )
  with urllib.request.urlopen(request) as reply:
    return json.load(reply)['tokens']


def main():
  params = xllamacpp.CommonParams()
  params.model.path = sys.argv[1]
  params.n_ctx, params.port, params.warmup = 512, PORT, False
  server = xllamacpp.Server(params)
  rng = random.Random(0)
  rows = []
  for _ in range(300):
    own = text(rng)
    ways = [tokens(server.listening_address, own, way) for way in (False, True)]
    rows.append([own, *ways])
  lines = ',\n'.join(json.dumps(row, ensure_ascii=True) for row in rows)
  GOLDEN.write_text(f'[\n{lines}\n]\n')
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
