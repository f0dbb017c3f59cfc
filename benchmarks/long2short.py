"""The four methods of Kimi k1.5, section 2.4, side by side: its Fig. 7.

  python -m benchmarks.long2short --runs runs/seed0 runs/seed1 runs/seed2
      [--picture docs/long2short.png] [--report_only]

A run is a workdir of `experiments/arithmetic.py` whose name ends with its seed;
one that is not finished is finished first.  In RUN/long2short there is then a
workdir for each method:

  long             the model after RL, as it is
  short            the short-CoT model: that after SFT, the ancestor of the long
                   one, fine-tuned on the shortest correct of its own responses
  merge            the mean of the two
  merge + rs       that, after shortest rejection sampling of its own
  shortest         the long one after shortest rejection sampling
  dpo, rl          the long one after DPO, and after long2short RL, which begins
                   with the better balanced of RL's last two checkpoints

Each is evaluated on the held-out problems, four responses to each.  What is
done is not done again.  A table, which of the paper's orderings held, and the
last line, `RESULT {json}`, go to stdout.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import threading

import numpy as np
from matplotlib.figure import Figure

from experiments import arithmetic
from k15 import checkpoint
from k15 import context as context_lib
from k15 import correctness
from k15 import figures
from k15 import files
from k15 import models
from k15 import run_weights

REPO = pathlib.Path(__file__).resolve().parents[1]
# Name of a method -> its last stage and its colour.
METHODS = {
  'long': ('merge', '#39424e'),
  'short': ('shortest', '#98a4b5'),
  'merge': ('merge', figures.COLORS[1]),
  'merge + rs': ('shortest', figures.COLORS[4]),
  'shortest': ('shortest', figures.COLORS[2]),
  'dpo': ('dpo', figures.COLORS[3]),
  'rl': ('short_rl', figures.COLORS[0]),
}
# Fig. 7 of the paper: tokens and accuracy, %, on MATH-500 and AIME 2024.
PAPER = {
  'long': (1320, 94.1, 4199, 63.3),
  'rl': (1197, 94.6, 3257, 60.8),
  'dpo': (1102, 91.6, 3109, 47.1),
  'merge + rs': (901, 90.2, 3022, 42.9),
  'merge': (856, 89.2, 3128, 39.0),
}


def commands(run: pathlib.Path) -> dict[str, list[str]]:
  """Arguments of `k15.main` for each method, in an order that they can go."""
  out, seed = run / 'long2short', _seed(run)
  shared = [
    f'--config.seed={seed}',
    f'--config.long2short.responses={out / "responses.jsonl"}',
  ]
  short = f'--config.long2short.short_model={out / "short/models/shortest"}'
  long, sft = run / 'models/rl', run / 'models/sft'
  candidates = (*map(str, _earlier(run).values()), str(run / 'models/rl'))
  chain = "--config.stages=('merge','shortest')"
  ways = {
    # A mean without the other model is the model itself, to the bit.
    'long': ('merge', long, '--config.long2short.short_share=0.0',
             f'--config.long2short.short_model={long}'),
    'short': ('shortest', sft),
    'merge': ('merge', long, short),
    'shortest': ('shortest', long),
    'dpo': ('dpo', long),
    'rl': ('rl', long, f'--config.short_rl.candidates={candidates}'),
    'merge + rs': ('shortest', long, short, chain),
  }  # fmt: skip
  return {
    name: [
      f'--config=experiments/long2short/{experiment}.py',
      f'--workdir={_workdir(run, name)}', f'--config.checkpoint={start}',
      *shared, *more,
    ]
    for name, (experiment, start, *more) in ways.items()
  }  # fmt: skip


def make(run: pathlib.Path) -> None:
  """Does what is not done yet."""
  if 'accuracy_after_rl' not in _summary(run):
    arguments = f'--workdir={run}', f'--config.seed={_seed(run)}'
    _main('--config=experiments/arithmetic.py', *arguments)
  for iteration, directory in _earlier(run).items():
    if not directory.exists():
      export(run, iteration, directory)
  for name, arguments in commands(run).items():
    key = f'accuracy_after_{METHODS[name][0]}'
    if key not in _summary(_workdir(run, name)):
      print(f'{run}: {name}', flush=True)
      _main(*arguments)


def export(run: pathlib.Path, iteration: int, directory: pathlib.Path) -> None:
  """Makes a model of an earlier checkpoint of RL."""
  config = arithmetic.get_config()
  config.seed = _seed(run)
  context = context_lib.make(config, directory.parent, threading.Event())
  optimizer = run_weights.make_optimizer(
    context.config, context.shape, config.optimizer.name
  )
  layout = run_weights.state_layout(context.layout, optimizer)
  checkpoints = checkpoint.Checkpoints(
    run / 'checkpoints/rl', config.saving.keep
  )
  device, _ = checkpoints.restore(iteration, dict(train=layout, kl_params=None))
  checkpoints.close()
  state, r = device['train'], config.rollout
  models.save(
    directory,
    context.shape,
    state.params,
    context.task.tokenizer,
    r.max_prompt_length + r.max_length,
    models.Origin('rl', iteration, int(state.step)),
    None,
  )
  context.scorer.close()
  context.logger.close()


def read(run: pathlib.Path) -> dict[str, tuple[float, float]]:
  """Method -> (mean tokens, accuracy in %) of those that are done."""
  found = {}
  for name, (stage, _) in METHODS.items():
    path = _workdir(run, name) / f'evaluation_{stage}.jsonl'
    records = files.read_jsonl(path)
    if records:
      tokens = np.mean([record['length'] for record in records])
      right = 100 * np.mean([*map(correctness.accuracy_of, records)])
      found[name] = float(tokens), float(right)
  return found


def orderings(points: dict[str, np.ndarray]) -> list[tuple[str, list[bool]]]:
  """The paper's orderings, and in which seeds each held.

  Args:
    points: method -> float [S, 2], tokens and accuracy of S seeds.
  """
  claims, order = [], [name for name in PAPER if name in points]

  def hold(text, condition):
    claims.append((text, [bool(value) for value in condition]))

  for name in order[1:]:
    hold(f'{name}: fewer tokens than long',
         points[name][:, 0] < points['long'][:, 0])  # fmt: skip
  for above, below in zip(order[1:], order[2:], strict=False):
    hold(f'accuracy: {above} above {below}',
         points[above][:, 1] > points[below][:, 1])  # fmt: skip
    hold(f'tokens: {above} above {below}',
         points[above][:, 0] > points[below][:, 0])  # fmt: skip
  if 'rl' in points:
    rivals = np.array([points[name] for name in order[2:]])  # [N, S, 2]
    beats = rivals[..., 0] <= points['rl'][:, 0]
    beats &= rivals[..., 1] >= points['rl'][:, 1]
    hold('no other is as short and as accurate as rl', ~beats.any(axis=0))
  return claims


def draw(points: dict[str, np.ndarray]) -> Figure:
  """Accuracy against tokens: seeds thin, their mean thick."""
  figure = Figure(figsize=(6.4, 4.0), layout='constrained')
  axes = figure.subplots()
  for name, values in points.items():
    color, (tokens, right) = METHODS[name][1], values.mean(axis=0)
    for seed in values:
      axes.plot(*seed, 'o', color=color, markersize=4, alpha=0.4)
      axes.plot(
        *zip(seed, (tokens, right), strict=True), color=color, lw=0.7, alpha=0.4
      )
    axes.plot(tokens, right, 'o', color=color, markersize=9, label=name)
  axes.set_xlabel('mean tokens of a response')
  axes.set_ylabel('accuracy on held-out problems, %')
  axes.legend(frameon=False, fontsize=9, loc='lower right')
  axes.margins(0.12)
  axes.grid(color='#e6e9ee')
  axes.set_axisbelow(True)
  axes.spines[['top', 'right']].set_visible(False)
  return figure


def show(points: dict[str, np.ndarray], runs: list[pathlib.Path]) -> None:
  """Prints the table, the orderings and the result."""
  print(f'{"":12} tokens  accuracy    paper: MATH-500       AIME 2024')
  for name, values in points.items():
    tokens, right = values.mean(axis=0)
    line = f'{name:12} {tokens:6.1f}  {right:8.1f}'
    if name in PAPER:
      line += '    {:8,} {:8.1f} {:8,} {:8.1f}'.format(*PAPER[name])
    print(line)
  claims = orderings(points)
  for text, held in claims:
    print(f'{sum(held)} of {len(held)} seeds: {text}')
  result = dict(
    runs=[str(run) for run in runs],
    points={name: values.round(3).tolist() for name, values in points.items()},
    orderings=dict(claims),
  )
  print('RESULT ' + json.dumps(result))


def _seed(run):
  found = re.search(r'(\d+)$', run.name)
  if not found:
    raise SystemExit(f'{run}: a name that ends with the seed is needed')
  return int(found[1])


def _workdir(run, name):
  return run / 'long2short' / name.replace(' + ', '_')


def _earlier(run):
  """Iteration -> model directory, of the checkpoints of RL before the last."""
  steps = [int(path.name) for path in (run / 'checkpoints/rl').glob('[0-9]*')]
  return {i: run / f'long2short/rl_{i}' for i in sorted(steps)[:-1]}


def _summary(workdir):
  path = workdir / 'summary.json'
  return json.loads(path.read_text()) if path.exists() else {}


def _main(*arguments):
  command = [sys.executable, '-m', 'k15.main', *arguments]
  subprocess.run(command, cwd=REPO, check=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--runs', nargs='+', type=pathlib.Path, required=True)
  parser.add_argument('--picture', type=pathlib.Path)
  parser.add_argument('--report_only', action='store_true')
  args = parser.parse_args()
  runs = [run.absolute() for run in args.runs]
  if not args.report_only:
    for run in runs:
      make(run)
  found = [read(run) for run in runs]
  done = [name for name in METHODS if all(name in points for points in found)]
  points = {name: np.array([points[name] for points in found]) for name in done}
  show(points, runs)
  if args.picture:
    args.picture.write_bytes(figures.to_png(draw(points)))


if __name__ == '__main__':
  main()
