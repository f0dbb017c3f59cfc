"""What the journal of RL costs, of an iteration.

  python -m benchmarks.speed.journal [--repeats 8] [--tiny]

Two stages of RL of the arithmetic experiment, from the same random weights and
with the same seeds, take each iteration in turns: one writes its journal, one
has none, so that both sample and learn the same to the bit.  Printed are the
median seconds of an iteration, the median of their ratios, and, which other
work on the machine disturbs less, the seconds of a processor that threads of
the writing stage spend in its journal, over those of the process in its
iterations: they wait there for weights that the rollout waits for anyway, and
judges for each other.  The first two iterations compile and do not count.
"""

import argparse
import functools
import pathlib
import statistics
import tempfile
import threading
import time

import jax

from experiments import arithmetic
from k15.rollout import journal
from k15.runtime import context as context_lib
from k15.runtime import weights
from k15.stages.rl import loop
from k15.stages.rl import setup

_WARM = 2  # iterations
# All that writes, and is called while an iteration waits.
_WRITERS = {
  journal.Journal: ('begin', 'keep_verdict', 'forget'),
  journal.Phase: ('open', 'write', 'sync'),
}


def make_context(has_journal, tiny, folder):
  config = arithmetic.get_config('smoke' if tiny else '')
  config.stages, config.saving.journal = ('rl',), has_journal
  config.task.held_out_problems = config.sft.num_examples = 8
  # Random weights hardly end anything: what is cut is judged as it stands, and
  # lengths alone make rewards differ, so that there is something to learn.
  config.reward.cut_is_wrong, config.length_reward.weight = False, 1.0
  config.rollout.token_budget = config.rollout.max_length
  return context_lib.make(config, folder, threading.Event())


class Clock:
  """Adds up the seconds of a processor that functions of a journal take."""

  def __init__(self):
    self.seconds, self._lock = 0.0, threading.Lock()

  def around(self, kind, name):
    inner = getattr(kind, name)

    @functools.wraps(inner)
    def outer(*args, **named):
      start = time.thread_time()
      try:
        return inner(*args, **named)
      finally:
        with self._lock:
          self.seconds += time.thread_time() - start

    setattr(kind, name, outer)


def seconds_of(stage, iteration):
  """Of an iteration, and of the journal that a checkpoint makes superfluous."""
  start = time.perf_counter()
  with stage.context.layout.use_mesh():
    loop.run_iteration(stage, iteration)
    stage.records.journal.forget(iteration)
    jax.block_until_ready(stage.state)
  return time.perf_counter() - start


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--repeats', type=int, default=8)
  parser.add_argument('--tiny', action='store_true')
  args = parser.parse_args(argv)
  clock, stages = Clock(), {}
  for kind, names in _WRITERS.items():
    for name in names:
      clock.around(kind, name)
  with tempfile.TemporaryDirectory() as folder:
    for way, has_journal in (('journal', True), ('none', False)):
      context = make_context(has_journal, args.tiny, pathlib.Path(folder, way))
      stage = setup.begin(context, weights.load_params(context, None))
      with context.layout.use_mesh():
        stage.hand_over(0, label=0)
        stage.warm_up()
      stages[way] = stage
    taken = {way: [] for way in stages}
    kept, used = [], []
    for iteration in range(_WARM + args.repeats):
      for way, stage in stages.items():
        clock.seconds, start = 0.0, time.process_time()
        taken[way].append(seconds_of(stage, iteration))
        if way == 'journal':
          kept.append(clock.seconds)
          used.append(time.process_time() - start)
    for stage in stages.values():
      stage.rollout.close()
      stage.records.close()
  measured = {way: seconds[_WARM:] for way, seconds in taken.items()}
  for way, seconds in measured.items():
    print(f'{way:8} {statistics.median(seconds):.3f} s')
  pairs = zip(measured['journal'], measured['none'], strict=True)
  print(f'ratio    {statistics.median(a / b for a, b in pairs):.3f}')
  share = sum(kept[_WARM:]) / sum(used[_WARM:])
  print(f'share    {share:.4f} of the seconds of processors are the journal\'s')


if __name__ == '__main__':
  main()
