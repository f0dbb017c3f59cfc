"""Which learning rate an arm gets: the best of a sweep on seeds of its own.

An arm's rate is the one with the largest area under its curve, the mean
held-out accuracy of the evaluations of RL, mean of the seeds.  No run is left
out: what a run that broke off did not reach counts as 0, as an accuracy that is
no number does, for a rate at which one of three seeds is lost is no good rate.
A rate that is far behind another with the first seed costs no runs with the
others, and is not chosen.

The areas of each seed are in docs/reproduce/learning_rates.json, from where a
rate is written into the page by hand.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.reproduce import ablation_runs as data
from benchmarks.reproduce import published
from benchmarks.reproduce import running
from experiments.ablations import claims
from experiments.ablations import scales
from k15 import files
from k15.config import exit_codes
from k15.config import keys
from launch.units import sweep

PATH = pathlib.Path('docs/reproduce/learning_rates.json')

# More than two runs of one arm with the same seed and neighbouring rates differ
# by where both learn.
BEHIND = 0.06

Areas = dict[str, dict[str, dict[str, float]]]  # by arm, rate and seed


def tune(name: str, root: pathlib.Path, parallel: int) -> int:
  """Runs the sweep `:tune` of an ablation, prints all areas and keeps them.

  Of rates that are `BEHIND` with the first seed it runs no other.

  Returns:
    The exit code: 1 if a run failed, with which it counts all the same.

  Raises:
    DataError: no arm has RL; a run has not ended; or see `areas`.
  """
  config, units = running.units_of(name, 'tune')
  units = [unit for unit in units if has_rate(config, unit)]
  if not units:
    raise data.DataError('no arm has RL, and so a learning rate to choose')
  some = [u for u in units if u.overrides['seed'] == scales.TUNING_SEEDS[0]]
  code, found = _run(name, config, some, root, parallel)
  if code == exit_codes.INTERRUPTED:
    return code
  some, worst = within_reach(config, units, found), code
  code, found = _run(name, config, some, root, parallel)
  if code == exit_codes.INTERRUPTED:
    return code
  kept = files.read_json(PATH) | {name: found}
  text = published.by_line(dict(sorted(kept.items())), dict.fromkeys(kept, 1))
  PATH.parent.mkdir(parents=True, exist_ok=True)
  files.replace_file(PATH, text.encode())
  print(f'{name}:')
  rates = chosen(found, data.page_of(config).get('ONE_RATE', False))
  for arm, by_rate in found.items():
    shown = ', '.join(f'{r}: {area:.3f}' for r, area in means(by_rate).items())
    print(f'  {arm}: {rates[arm]} ({shown})', flush=True)
  return max(worst, code)


def _run(name, config, units, root, parallel):
  """The exit code, and the areas of all the units if it is that of an end."""
  only = {unit.name for unit in units}
  code = running.run(name, 'tune', root, running.ROOT, parallel, only)
  if code == exit_codes.INTERRUPTED:
    return code, {}
  return code, areas(root / name, config, units)


def has_rate(config: str, unit: sweep.Unit) -> bool:
  """Whether a unit has RL, whose curve a rate is chosen by."""
  return 'rl' in sweep.load_config(config, unit.overrides).stages


def within_reach(
  config: str, units: Sequence[sweep.Unit], found: Areas
) -> list[sweep.Unit]:
  """Of all units those that have run, and those that may yet be the best.

  Args:
    config: 'FILE:tune'.
    found: areas with the first seed.
  """
  table = untuned(config)

  def is_worth_it(unit):
    if unit.overrides['seed'] == scales.TUNING_SEEDS[0]:
      return True
    by_rate = means(found[data.arm_of(unit, table)])
    rate = f'{unit.overrides[scales.RATE]:g}'
    return by_rate[rate] > max(by_rate.values()) - BEHIND

  return [unit for unit in units if is_worth_it(unit)]


def areas(
  folder: pathlib.Path, config: str, units: Sequence[sweep.Unit]
) -> Areas:
  """The area of each run, and says which were counted as 0 from where on.

  Args:
    folder: of the units' folders.
    config: 'FILE:tune'.
    units: that have RL.

  Raises:
    DataError: a unit has not ended, or is of no arm.
  """
  table = untuned(config)
  found: Areas = {}
  for unit in units:
    whole = keys.leaves(sweep.load_config(config, unit.overrides))
    run = data.read_run(folder / unit.name, whole)
    state = run.record.get('state', 'not begun')
    if state not in ('done', 'failed'):
      raise data.DataError(f'{unit.name} has not ended: {state}')
    count = whole['rl.iterations'] // max(1, whole['evaluation.every'])
    curve = [r[claims.ACCURACY] for r in run.records if claims.ACCURACY in r]
    curve = [value for value in curve if value is not None]
    curve = [value for value in curve if math.isfinite(value)]
    if state == 'failed' or len(curve) < count:
      print(
        f'{unit.name} is {state}: {len(curve)} of {count} evaluations, the'
        ' others count as 0'
      )
    by_rate = found.setdefault(data.arm_of(unit, table), {})
    by_seed = by_rate.setdefault(f'{whole[scales.RATE]:g}', {})
    by_seed[str(run.seed)] = sum(curve) / max(count, len(curve), 1)
  return found


def untuned(config: str) -> dict[str, dict[str, object]]:
  """ARMS of a config file without their learning rates."""
  return {
    label: {k: v for k, v in arm.items() if k != scales.RATE}
    for label, arm in data.page_of(config)['ARMS'].items()
  }


def means(by_rate: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """Mean area over the seeds of each rate."""
  return {rate: float(np.mean([*by_seed.values()]))
          for rate, by_seed in by_rate.items()}  # fmt: skip


def chosen(found: Areas, is_one: bool) -> dict[str, str]:
  """The rate of each arm.

  Where a page has ONE_RATE, as its arms are one run up to where they part, it
  is the best in the mean of the arms for all of them.
  """
  if not is_one:
    return {arm: best(by_rate) for arm, by_rate in found.items()}
  arms = [_of_all_seeds(by_rate) for by_rate in found.values()]
  shared = [rate for rate in arms[0] if all(rate in arm for arm in arms)]
  return dict.fromkeys(
    found, max(shared, key=lambda rate: sum(arm[rate] for arm in arms))
  )


def _of_all_seeds(by_rate):
  """Mean areas of the rates that all seeds have run with."""
  most = max(map(len, by_rate.values()))
  return {rate: area for rate, area in means(by_rate).items()
          if len(by_rate[rate]) == most}  # fmt: skip


def best(by_rate: Mapping[str, Mapping[str, float]]) -> str:
  """The rate with the largest mean, of those that all seeds have run with."""
  found = _of_all_seeds(by_rate)
  return max(found, key=found.get)
