"""Whether other work disturbed a measurement: load, steal, others' processors.

Linux counts in /proc/stat what all processors did.  What this process and its
children, once they have ended, did not do themselves, others did; stolen time
went to other guests of the same machine.
"""

import dataclasses
import os
import pathlib
import time

# From where a measurement counts as noisy.  The kernel's own work and a shell
# take some hundredths of a processor.
MOST_OTHERS, MOST_STOLEN = 0.15, 0.01
_STAT = pathlib.Path('/proc/stat')


@dataclasses.dataclass(frozen=True)
class Mark:
  """A point in time, all in seconds but for `load`, the mean of a minute.

  `busy` and `stolen` are of all processors since they started, None where
  there is no /proc/stat; `own` is of this process and its ended children.
  """

  clock: float
  load: float
  own: float
  busy: float | None
  stolen: float | None


def mark() -> Mark:
  """Now; children that still run are counted among the others."""
  times = os.times()
  own = times.user + times.system + times.children_user + times.children_system
  busy, stolen = read_stat(_STAT.read_text() if _STAT.exists() else '')
  return Mark(time.monotonic(), os.getloadavg()[0], own, busy, stolen)


def read_stat(text: str) -> tuple[float | None, float | None]:
  """Busy and stolen seconds of the first line: user, nice, system, idle,
  iowait, irq, softirq and steal, in ticks."""
  if not text.startswith('cpu '):
    return None, None
  ticks = [int(x) for x in text.splitlines()[0].split()[1:9]]
  user, nice, system, _, _, irq, softirq, stolen = ticks
  rate = os.sysconf('SC_CLK_TCK')
  return (user + nice + system + irq + softirq) / rate, stolen / rate


def compare(before: Mark, after: Mark, processors: int) -> dict:
  """Of what went by: load before and at the end, processors that others kept
  busy, the share that was stolen, and the verdict, 'quiet', 'noisy' or
  'unknown'."""
  found = dict(load_before=before.load, load_after=after.load)
  if before.busy is None or after.busy is None:
    return found | dict(verdict='unknown')
  seconds = after.clock - before.clock
  others = after.busy - before.busy - (after.own - before.own)
  found |= dict(
    others_processors=max(0.0, others / seconds),
    stolen_share=(after.stolen - before.stolen) / (processors * seconds),
  )
  is_noisy = (
    found['others_processors'] > MOST_OTHERS
    or found['stolen_share'] > MOST_STOLEN
  )
  return found | dict(verdict='noisy' if is_noisy else 'quiet')
