"""A curated prompt set in numbers: what every step removed, with examples."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from k15 import curation
from k15.curation import Removal
from k15.curation import Step
from k15.data_types import Problem


def records_of(
  steps: Sequence[Step], num_examples: int
) -> list[dict[str, Any]]:
  """The steps as records: counts, reasons and a few examples of each reason."""
  records = []
  for step in steps:
    reasons = collections.Counter(r.reason for r in step.removals)
    shown = collections.Counter()
    examples = []
    for removal in step.removals:
      shown[removal.reason] += 1
      if shown[removal.reason] <= num_examples:
        examples.append(removal_record(removal))
    records.append(
      dict(
        step=step.name,
        before=step.before,
        removed=len(step.removals),
        after=step.before - len(step.removals),
        seconds=round(step.seconds, 3),
        note=step.note,
        reasons=dict(reasons.most_common()),
        examples=examples,
      )
    )
  return records


def removal_record(removal: Removal) -> dict[str, Any]:
  """A removal in values that JSON can hold."""
  record = dict(
    id=removal.problem.id,
    prompt=removal.problem.prompt,
    answer=removal.problem.answer,
    reason=removal.reason,
    detail=removal.detail,
  )
  if removal.other is not None:
    record |= dict(
      other_id=removal.other.id,
      other_prompt=removal.other.prompt,
      other_answer=removal.other.answer,
    )
  return record


def table(records: Sequence[Mapping[str, Any]]) -> str:
  """The funnel as text: a line a step, and one for each of its reasons."""
  lines = [f'{"step":42}{"before":>9}{"removed":>9}{"after":>9}{"seconds":>9}']
  for record in records:
    if record['note']:
      lines.append(
        f'{record["step"]:42}{record["before"]:>9}  {record["note"]}'
      )
      continue
    lines.append(
      f'{record["step"]:42}{record["before"]:>9}{record["removed"]:>9}'
      f'{record["after"]:>9}{record["seconds"]:>9.1f}'
    )
    for reason, count in record['reasons'].items():
      lines.append(f'  {reason[:47]:49}{count:>9}')
  return '\n'.join(lines)


def tag_counts(
  problems: Sequence[Problem], steps: Sequence[Step]
) -> dict[str, list[int]]:
  """Tag -> how many came to the balance, and how many stay."""
  after = collections.Counter(curation.tag_of(p) for p in problems)
  before = collections.Counter(after)
  for step in steps:
    if step.name == curation.STEPS[-1]:
      before.update(curation.tag_of(r.problem) for r in step.removals)
  return {tag: [n, after[tag]] for tag, n in before.most_common()}
