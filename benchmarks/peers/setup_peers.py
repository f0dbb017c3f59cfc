"""Build the virtual environments the side-by-side benchmarks run in.

  python benchmarks/peers/setup_peers.py [--root DIR] [--only trl|tunix|llama]

Each peer gets an environment of its own, so neither its pins nor its speed
depend on what k15 needs.  A stamp file makes a second call free.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
DEFAULT_ROOT = REPO / '.bench' / 'venvs'

# Arguments of one pip call each.  torch goes first: with a CPU build in place,
# the later packages do not drag in the registry's CUDA build.
PINS = {
  # From its sources, minutes of compiling: there are no wheels of it.
  'llama': [
    ['--no-binary', 'llama-cpp-python', 'llama-cpp-python==0.3.36'],
  ],
  'trl': [
    ['torch==2.13.0'],
    ['trl==1.16.0', 'transformers==5.24.0'],
  ],
  'tunix': [
    ['google-tunix==0.1.7', 'jax==0.10.2', 'jaxlib==0.10.2', 'flax==0.12.8'],
  ],
}


def stamp_path(root, peer):
  return pathlib.Path(root) / peer / 'k15-pins.json'


def stamp_text(peer):
  major, minor = sys.version_info[:2]
  python = f'{major}.{minor}'
  return json.dumps({'python': python, 'pins': PINS[peer]}, indent=1) + '\n'


def python_of(root, peer):
  """Path of the interpreter that runs the peer's worker."""
  return pathlib.Path(root).absolute() / peer / 'bin' / 'python'


def is_ready(root, peer):
  stamp = stamp_path(root, peer)
  return stamp.exists() and stamp.read_text() == stamp_text(peer)


def make_venv(root, peer):
  """Create the environment, or reuse it when its stamp holds these pins."""
  if is_ready(root, peer):
    print(f'{peer}: ready')
    return
  start = time.time()
  # Before anything is installed: an attempt that breaks off leaves no stamp,
  # and the next one begins anew.
  stamp_path(root, peer).unlink(missing_ok=True)
  target = pathlib.Path(root) / peer
  subprocess.run([sys.executable, '-m', 'venv', '--clear', target], check=True)
  for packages in PINS[peer]:
    pip = [
      python_of(root, peer),
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
    ]
    subprocess.run(pip + packages, check=True)
  stamp_path(root, peer).write_text(stamp_text(peer))
  print(f'{peer}: installed in {time.time() - start:.0f} s')


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--root', type=pathlib.Path, default=DEFAULT_ROOT)
  parser.add_argument('--only', choices=sorted(PINS))
  args = parser.parse_args(argv)
  args.root.mkdir(parents=True, exist_ok=True)
  for peer in [args.only] if args.only else ('trl', 'tunix'):
    make_venv(args.root, peer)


if __name__ == '__main__':
  main()
