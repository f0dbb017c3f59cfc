"""What a stage of RL writes down of its rollout: the timeline, the journal."""

import dataclasses
from collections.abc import Callable

from k15.devices import hosts
from k15.rollout import journal as journal_lib
from k15.rollout import timeline as timeline_lib
from k15.rollout.requests import SlotEvent
from k15.runtime.context import Context


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
  """`timeline` has what the slots did lately, for the report; `journal` what
  was sampled and judged since the last checkpoint, for a run that was killed.
  """

  timeline: timeline_lib.Timeline
  journal: journal_lib.Journal

  @property
  def of_slot(self) -> Callable[[SlotEvent], None] | None:
    """Told what every slot does; None but in the first process."""
    return self.timeline.record if hosts.is_first() else None

  def close(self) -> None:
    """Nothing more comes."""
    self.journal.close()
    self.timeline.write()


def make_records(context: Context, name: str) -> Records:
  """Of the named stage, in the run's workdir."""
  folder = context.workdir / 'journal' / name
  return Records(
    timeline_lib.Timeline(context.workdir / 'timeline.jsonl'),
    journal_lib.Journal(folder if context.config.saving.journal else None),
  )
