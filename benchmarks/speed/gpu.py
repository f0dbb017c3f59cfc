"""k15 on one GPU: decoding, training, and transformers on the same card.

  make bench-gpu                            sets up what it needs
  python -m benchmarks.speed.gpu --peer_python DIR/bin/python [--slots 64]
      [--prompt 512] [--new 512] [--cache-dtypes bfloat16 int8]
      [--train-tokens 16384] [--repeats 3] [--parts decode train peer]
  python -m benchmarks.speed.gpu --tiny --peer_python DIR/bin/python

The last runs on a CPU, in minutes: it shows that everything runs.

A policy of Qwen2.5-1.5B's shape with random weights, in bfloat16:

  decode  --slots responses at once, all of one length.  A step has to read
          all weights and the keys and values so far; its share of the memory's
          bandwidth is that many bytes a second over what a copy reaches in the
          same process, and over what the maker says.           aim: 60 %
  train   one mirror-descent step on one row of --train-tokens: Adam, float32
          weights, bfloat16 activations, rematerialized layers, cuDNN's flash
          attention.  MFU counts the model's operations once, over what one
          large product reaches, and over what the maker says.  aim: 50 %
  peer    transformers' generate, the same shape, prompts and tokens, bfloat16,
          with a dynamic and a static cache; the faster counts.
                                            aim: 10 times its tokens a second

Each part has a process of its own, so that the card's memory is free before
the next.  The table and the last line, `RESULT {json}`, go to stdout.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parents[2]
MARK = 'PART '
AIMS = dict(decode=0.6, train=0.5, peer=10.0)
QWEN = dict(
  vocab_size=151936, num_layers=28, d_model=1536, num_heads=12,
  num_kv_heads=2, head_dim=128, d_ff=8960, rope_theta=1e6, rms_norm_eps=1e-6,
  qkv_bias=True, qk_norm=False, tie_embeddings=True,
)  # fmt: skip
TINY_SHAPE = QWEN | dict(
  vocab_size=512, num_layers=2, d_model=64, num_heads=4, head_dim=16, d_ff=128
)
TINY = dict(
  slots=4, prompt=16, new=8, prefill_batch=2, train_tokens=256, repeats=1,
  copy_bytes=1 << 20, matmul_width=128, attention='chunked', logprob_chunk=128,
)  # fmt: skip
# By the makers' data sheets: bytes a second, dense bfloat16 operations a
# second.  The first that is part of the device's name counts.
NOMINAL = {
  'H100 PCIe': (2.0e12, 756e12), 'H100': (3.35e12, 989e12),
  'H200': (4.8e12, 989e12), 'B200': (8.0e12, 2250e12),
  'A100-SXM4-40GB': (1.555e12, 312e12), 'A100': (2.039e12, 312e12),
  'L40S': (0.864e12, 362e12), 'L4': (0.3e12, 121e12),
  'RTX 4090': (1.008e12, 165e12),
}  # fmt: skip


def ask(command, tiny):
  """What the last line of a process says; its chatter goes to stderr."""
  # By itself jax takes three quarters of the card at its start, whatever it
  # then needs.
  environment = os.environ | {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
  if tiny:
    environment |= {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
  done = subprocess.run(
    command, cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True,
    check=False,
  )  # fmt: skip
  lines = [x for x in done.stdout.splitlines() if x.startswith(MARK)]
  if done.returncode or not lines:
    sys.exit(f'{command} ended with {done.returncode}:\n{done.stdout}')
  return json.loads(lines[-1].removeprefix(MARK))


def ask_part(args, part):
  """k15 in a process that ends before the next begins; or transformers, in
  the python of its own environment."""
  shape = TINY_SHAPE if args.tiny else QWEN
  asked = json.dumps(dict(part=part, shape=shape, args=vars(args)))
  command = [sys.executable, '-m', 'benchmarks.speed.gpu_parts']
  if part == 'peer':
    script = REPO / 'benchmarks' / 'peers' / 'transformers_generate.py'
    command = [os.path.abspath(args.peer_python), str(script)]
  return ask([*command, asked], args.tiny)


def nominal_of(device):
  """Bytes and operations a second by the data sheet, or None."""
  for name, values in NOMINAL.items():
    if name in device:
      return values
  return None, None


def show(name, value, unit='', aim=None):
  verdict = ''
  if aim is not None:
    verdict = f'   aim {aim:g}{unit}: {"met" if value >= aim else "not met"}'
  print(f'  {name:<46}{value:>12.4g}{unit}{verdict}', flush=True)


def show_decode(found):
  nominal, _ = nominal_of(found['device'])
  print(f'decode on {found["device"]}, jax {found["jax"]}')
  show('copy, GB/s', found['bandwidth'] / 1e9)
  for row in found['rows']:
    rate = row['step_bytes'] / row['step_seconds']
    row['share_of_copy'] = rate / found['bandwidth']
    name = f'cache {row["cache"]}: '
    show(name + 'ms a step', 1e3 * row['step_seconds'])
    show(name + 'MB to read a step', row['step_bytes'] / 1e6)
    show(name + 'of the copy', 100 * row['share_of_copy'], ' %')
    if nominal:
      row['share_of_nominal'] = rate / nominal
      aim = 100 * AIMS['decode']
      show(name + 'of the data sheet', 100 * rate / nominal, ' %', aim)
    show(name + 'tokens/s, prefill included', row['tokens_per_second'])


def show_train(found):
  _, nominal = nominal_of(found['device'])
  rate = found['flops'] / found['seconds']
  found['mfu_of_product'] = rate / found['matmul_rate']
  print(f'train on {found["device"]}')
  show('seconds a step', found['seconds'])
  show('tokens/s', found['tokens_per_second'])
  show('TFLOP/s', rate / 1e12)
  show('of one large product', 100 * found['mfu_of_product'], ' %')
  if nominal:
    found['mfu'] = rate / nominal
    show('MFU', 100 * rate / nominal, ' %', 100 * AIMS['train'])
  show('peak GiB', found['device_bytes'] / 2**30)


def show_peer(found, ours, aim):
  print(f'transformers {found["transformers"]}, torch {found["torch"]}')
  for cache, tokens in found['tokens_per_second'].items():
    text = f'{tokens:.4g}' if isinstance(tokens, float) else tokens
    print(f'  {cache} cache: tokens/s {text}')
  speeds = [
    x for x in found['tokens_per_second'].values() if isinstance(x, float)
  ]
  if ours and speeds:
    ratio = ours['rows'][0]['tokens_per_second'] / max(speeds)
    found['ratio'] = ratio
    show('k15 / the faster', ratio, 'x', aim)


def main(argv=None):
  args = parse(argv)
  result = dict(tiny=args.tiny)
  for part in args.parts:
    if part == 'peer' and not args.peer_python:
      print('transformers: not measured, for want of --peer_python')
      continue
    result[part] = found = ask_part(args, part)
    if part == 'decode':
      show_decode(found)
    elif part == 'train':
      show_train(found)
    else:
      aim = None if args.tiny else AIMS['peer']
      show_peer(found, result.get('decode'), aim)
  print('RESULT', json.dumps(result))


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--slots', type=int, default=64)
  add('--prompt', type=int, default=512, help='tokens')
  add('--new', type=int, default=512, help='tokens')
  add('--prefill-batch', type=int, default=16)
  add('--cache-dtypes', nargs='+', default=['bfloat16', 'int8'])
  blocks = 'columns of a cache block, 0: all in one'
  add('--cache-blocks', nargs='+', type=int, default=[0, 128], help=blocks)
  add('--train-tokens', type=int, default=16384)
  add('--attention', default='auto', help='of training')
  add('--remat', default='full', choices=('none', 'full', 'dots'))
  add('--logprob-chunk', type=int, default=4096, help='tokens')
  add('--copy-bytes', type=int, default=1 << 30)
  add('--matmul-width', type=int, default=8192)
  add('--repeats', type=int, default=3)
  parts = ['decode', 'train', 'peer']
  add('--parts', nargs='+', choices=parts, default=parts)
  add('--peer_python', help='python with torch and transformers')
  add('--tiny', action='store_true', help='small, on the CPU')
  args = parser.parse_args(argv)
  if args.tiny:
    parser.set_defaults(**TINY)
    args = parser.parse_args(argv)
  return args


if __name__ == '__main__':
  main()
