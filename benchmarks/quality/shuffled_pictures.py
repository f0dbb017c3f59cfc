"""Whether a policy looks: its accuracy on pictures, and on swapped ones.

    python -m benchmarks.quality.shuffled_pictures WORKDIR

The last model of a run answers its held-out problems that have pictures, and
then each with the pictures of another one: of equal words and sizes, so that
its prompt has the very same tokens, and of another answer where there is one.
Accuracy has to fall to what a guess is worth; where it does not, pictures do
not reach the policy, which a loss or a reward alone would not show.

`--problems` asks for another number of held-out problems than the run had,
texts among them.  Prints the table of the stage 'evaluate', and a line RESULT
with both accuracies, each with its bootstrap interval.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from experiments import base
from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.config import keys
from k15.data.evaluation_sets import EvalSet
from k15.data_types import Problem
from k15.runtime import context as context_lib
from k15.stages import evaluate

OWN, SWAPPED = 'own_pictures', 'swapped_pictures'


def swapped(
  problems: Sequence[Problem],
) -> tuple[list[Problem], list[Problem]]:
  """Problems with pictures, and the same ones with those of others.

  Left out is what has no other of equal words and sizes.
  """
  alike = collections.defaultdict(list)
  for problem in problems:
    sizes = tuple((image.height, image.width) for image in problem.images)
    alike[problem.prompt, sizes].append(problem)
  own, others = [], []
  for (_, sizes), group in alike.items():
    if not sizes or len(group) < 2:
      continue
    group.sort(key=lambda problem: (problem.answer, problem.id))
    # Equal answers lie together: so many places on there is another one.
    most = max(collections.Counter(p.answer for p in group).values())
    shift = most if most < len(group) else 1
    own += group
    others += [
      dataclasses.replace(p, images=group[(i + shift) % len(group)].images)
      for i, p in enumerate(group)
    ]
  return own, others


def config_of(workdir: pathlib.Path, problems: int) -> Any:
  """The run's, which begins with its last model and only evaluates it."""
  config = base.get_config()
  found = keys.leaves(hf_config.read_json(workdir / 'config.json'))
  for key, value in found.items():
    group, _, name = key.rpartition('.')
    target = config[group] if group else config
    target[name] = tuple(value) if isinstance(value, list) else value
  config.update(
    stages=('evaluate',), checkpoint=str(models.directory_of(workdir))
  )
  config.evaluation.sets = ()
  config.task.train_problems = config.sft.num_examples = 0
  config.task.held_out_problems = problems or config.task.held_out_problems
  context_lib.adopt_checkpoint(config)
  return config


def measure(workdir: pathlib.Path, problems: int = 0) -> dict[str, Any]:
  """Number of problems, and of both kinds `value`, `low` and `high`.

  Raises:
    ValueError: no two held-out problems are alike but for their pictures.
  """
  config = config_of(workdir, problems)
  with tempfile.TemporaryDirectory(prefix='k15-shuffled-') as folder:
    context = context_lib.make(config, pathlib.Path(folder), threading.Event())
    own, others = swapped(context.task.held_out)
    if not own:
      raise ValueError(
        f'of {len(context.task.held_out)} held-out problems no two have equal'
        ' words and pictures of equal sizes: ask for more --problems'
      )
    # Prompts of sets are whole.
    suffix = context.task.prompt_suffix
    sets = tuple(
      EvalSet(name, '', tuple(
        dataclasses.replace(p, prompt=p.prompt + suffix) for p in asked
      ))
      for name, asked in ((OWN, own), (SWAPPED, others))
    )  # fmt: skip
    task = dataclasses.replace(context.task, sets=sets)
    results = evaluate.run(
      dataclasses.replace(context, task=task), config.checkpoint
    )
    context.scorer.close()
  return dict(
    problems=len(own),
    **{name: results[name]['pass@1'] for name in (OWN, SWAPPED)},
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('workdir', type=pathlib.Path)
  parser.add_argument('--problems', type=int, default=0)
  args = parser.parse_args()
  print('RESULT', json.dumps(measure(args.workdir, args.problems)))


if __name__ == '__main__':
  main()
