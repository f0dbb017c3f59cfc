"""The RL prompt set as a funnel of decisions: Kimi k1.5, section 2.1.

Every step takes problems and what is known about them and says which ones it
removes, and why; nothing here samples, reads or writes.  The steps, in order:

  no answer           nothing to compare a response with
  too long            more prompt tokens than the rollout takes
  exact duplicate     the same text again
  evaluation overlap  the same as, or too much like, a problem that measures
  question type       multiple choice, true/false, proof
  near duplicate      the same problem in nearly the same words
  trivial             solved nearly always: pass rate of 10 samples
  guessable           right at least once in 8 answers without reasoning, or
                      without the picture
  balance             tags of which there is too much
"""

import collections
import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from k15.curation import labels
from k15.curation import near_duplicates
from k15.data_types import Problem

STEPS = (
  'no answer', 'too long', 'exact duplicate', 'evaluation overlap',
  'question type', 'near duplicate', 'trivial', 'guessable', 'balance',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Removal:
  """A problem that left the set.

  Attributes:
    problem: as it was.
    reason: in a few words, the same for many.
    detail: what was seen.
    other: the problem it repeats, or None.
  """

  problem: Problem
  reason: str
  detail: str = ''
  other: Problem | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
  """What a step removed of how many; `note` says why it was left out."""

  name: str
  before: int
  removals: tuple[Removal, ...] = ()
  seconds: float = 0.0
  note: str = ''


def without(
  problems: Sequence[Problem], removals: Sequence[Removal]
) -> list[Problem]:
  """The problems that stay, in order."""
  gone = {id(removal.problem) for removal in removals}
  return [problem for problem in problems if id(problem) not in gone]


def without_answer(problems: Sequence[Problem]) -> list[Removal]:
  """Problems without a reference answer."""
  return [Removal(p, 'no answer') for p in problems if not p.answer.strip()]


def too_long(
  problems: Sequence[Problem], lengths: Sequence[int], max_tokens: int
) -> list[Removal]:
  """Prompts that no rollout would take; lengths in tokens."""
  return [
    Removal(p, f'more than {max_tokens} tokens', f'{length} tokens')
    for p, length in zip(problems, lengths, strict=True)
    if length > max_tokens
  ]


def exact_duplicates(problems: Sequence[Problem]) -> list[Removal]:
  """All but the first of equal prompts; all, where the answers disagree.

  Prompts about other pictures are not equal.

  Texts that differ in case, white space or typeface are equal, and so are
  answers: of two answers to one question at least one is wrong, and nothing
  here knows which.
  """
  groups = collections.defaultdict(list)
  for problem in problems:
    form = near_duplicates.normal_form(problem.prompt)
    groups[form, problem.digests].append(problem)
  removals = []
  for first, *others in groups.values():
    answers = {
      tuple(near_duplicates.tokens(p.answer)) for p in [first, *others]
    }
    if len(answers) > 1:
      detail = ' / '.join(dict.fromkeys(p.answer for p in [first, *others]))
      removals.append(Removal(first, 'answers disagree', detail, others[0]))
      removals += [
        Removal(p, 'answers disagree', detail, first) for p in others
      ]
    else:
      removals += [Removal(p, 'the same text', '', first) for p in others]
  return removals


def evaluation_overlap(
  problems: Sequence[Problem],
  evaluation: Sequence[Problem],
  duplicate_similarity: float,
  variant_similarity: float,
) -> list[Removal]:
  """Problems that an evaluation set holds, in the same or in other words."""
  matches = near_duplicates.find(
    problems, evaluation, duplicate_similarity, variant_similarity
  )
  return _repetitions(problems, matches, ' of an evaluation problem')


def near_duplicates_within(
  problems: Sequence[Problem], duplicate_similarity: float
) -> list[Removal]:
  """Problems that repeat an earlier one in nearly the same words."""
  matches = near_duplicates.find_within(problems, duplicate_similarity)
  return _repetitions(problems, matches, '')


def _repetitions(problems, matches, of_what):
  return [
    Removal(
      problems[i],
      f'{match.kind}{of_what}',
      f'similarity {match.similarity:.2f}',
      match.other,
    )
    for i, match in matches.items()
  ]


def question_types_in(
  problems: Sequence[Problem], excluded: Sequence[str]
) -> list[Removal]:
  """Questions of the excluded kinds, some of `labels.KINDS`."""
  found = ((p, labels.question_type(p)) for p in problems)
  return [
    Removal(p, f.kind, f.evidence) for p, f in found if f and f.kind in excluded
  ]


def trivial(
  problems: Sequence[Problem],
  rates: Sequence[float],
  samples: int,
  max_pass_rate: float,
) -> list[Removal]:
  """Problems whose pass rate, of so many samples, is above the bound."""
  return [
    Removal(
      p,
      f'pass rate above {max_pass_rate:g}',
      f'{round(rate * samples)} of {samples} right',
    )
    for p, rate in zip(problems, rates, strict=True)
    if rate > max_pass_rate
  ]


def guessable(
  problems: Sequence[Problem],
  right: Sequence[Sequence[bool]],
  reason: str = 'guessed right',
) -> list[Removal]:
  """Problems of which one guess, an answer without reasoning, is right.

  A guess that is right with probability p removes with 1 - (1 - p)^N.
  """
  return [
    Removal(p, reason, f'{sum(row)} of {len(row)} guesses right')
    for p, row in zip(problems, right, strict=True)
    if any(row)
  ]


def over_represented(
  problems: Sequence[Problem], max_per_tag: int, max_tag_share: float, seed: int
) -> list[Removal]:
  """Problems too many of their tag.

  Every tag keeps at most c problems, the largest c with c <= max_per_tag and
  c <= max_tag_share * (all that stay).  Within a tag, the fifths of the
  difficulty, and those without a label, take turns, and within a fifth the
  order is that of a hash of seed and prompt: which problem stays does not hang
  on the order of the file.

  Args:
    problems: with domain, discipline and difficulty.
    max_per_tag: 0 is no bound.
    max_tag_share: (0, 1]; 1 is no bound.

  Raises:
    ValueError: fewer tags than such a share needs.
  """
  sizes = collections.Counter(tag_of(p) for p in problems)
  cap = cap_of(list(sizes.values()), max_per_tag, max_tag_share)
  drawn = sorted(problems, key=lambda p: _draw(seed, p))
  turns, ranked = collections.Counter(), []
  for place, problem in enumerate(drawn):
    fifth = tag_of(problem), _fifth_of(problem.difficulty)
    ranked.append((turns[fifth], place, problem))
    turns[fifth] += 1
  taken, removals = collections.Counter(), []
  for _, _, problem in sorted(ranked, key=lambda entry: entry[:2]):
    tag = tag_of(problem)
    taken[tag] += 1
    if taken[tag] > cap:
      detail = f'{sizes[tag]} in all, {cap} stay'
      removals.append(Removal(problem, f'too many of {tag}', detail))
  return removals


def _fifth_of(difficulty):
  """0 to 4, or -1: no label."""
  return -1 if difficulty is None else min(4, int(5 * difficulty))


def tag_of(problem: Problem) -> str:
  """'domain / discipline', as counted for the balance."""
  return f'{problem.domain} / {problem.discipline}'


def cap_of(sizes: Sequence[int], max_per_tag: int, max_share: float) -> int:
  """The largest c that `over_represented` allows tags of these sizes.

  With max_share = 0.5, sizes 2, 3, 100 give 5: 2 + 3 + 5 = 10, half of it 5.
  """
  if not sizes:
    return 0
  if max_share * len(sizes) < 1:
    raise ValueError(
      f'{len(sizes)} tags cannot all stay below a share of {max_share:g}:'
      f' {math.ceil(1 / max_share)} are needed'
    )
  cap = min(max_per_tag or max(sizes), max(sizes))
  # The product may be rounded to just below a whole number.
  while cap > max_share * sum(min(n, cap) for n in sizes) + 1e-9:
    cap -= 1
  return cap


def _draw(seed, problem):
  text = ' '.join([str(seed), problem.prompt, *problem.digests])
  return hashlib.sha256(text.encode()).digest()


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
  if removal.problem.images:
    record['images'] = removal.problem.digests
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
  after = collections.Counter(tag_of(p) for p in problems)
  before = collections.Counter(after)
  for step in steps:
    if step.name == STEPS[-1]:
      before.update(tag_of(r.problem) for r in step.removals)
  return {tag: [n, after[tag]] for tag, n in before.most_common()}
