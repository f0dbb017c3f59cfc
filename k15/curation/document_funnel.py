"""Documents to pretrain on as a funnel of decisions: Kimi k1.5, section 2.5.1.

As `funnel` for the prompt set: every step takes documents and what is known of
them and says which ones it removes, and why; nothing here reads or writes.  A
document goes through as a `Problem` without an answer, its place as the id, so
that both funnels count, compare and show alike.  The steps, in order:

  rules             too short, no words, the same again and again
  exact duplicate   the same text again
  near duplicate    nearly the same words, and the same numbers
  quality score     of a classifier or a model, below a bound
"""

from collections.abc import Sequence

from k15.curation import funnel
from k15.curation import near_duplicates
from k15.curation import text_quality
from k15.curation.funnel import Removal
from k15.curation.funnel import Step
from k15.data.documents import Document
from k15.data_types import Problem

STEPS = 'rules', 'exact duplicate', 'near duplicate', 'quality score'


def run(
  documents: Sequence[Document],
  rules: text_quality.Rules,
  duplicate_similarity: float,
  scores: Sequence[float] | None,
  least_score: float,
) -> tuple[list[Document], list[Step]]:
  """The documents that stay, in order, and all steps.

  Args:
    rules: see `text_quality`.
    duplicate_similarity: Jaccard similarity of word pairs from which two
      documents with the same numbers are one; see `near_duplicates`.
    scores: of each document; None leaves the step out.
    least_score: below it a document goes.
  """
  problems = [Problem(d.where, d.text, '', d.domain) for d in documents]
  by_id = {id(p): d for p, d in zip(problems, documents, strict=True)}
  score_of = {}
  if scores is not None:
    score_of = dict(zip(map(id, problems), scores, strict=True))
  left, steps = problems, []

  def apply(name, removals, note=''):
    nonlocal left
    steps.append(Step(name, len(left), tuple(removals), note=note))
    left = funnel.without(left, removals)

  apply(STEPS[0], broken(left, rules))
  apply(STEPS[1], funnel.exact_duplicates(left))
  found = near_duplicates.find_within(left, duplicate_similarity)
  repeated = [
    Removal(left[i], m.kind, f'similarity {m.similarity:.2f}', m.other)
    for i, m in found.items()
  ]
  apply(STEPS[2], repeated)
  if scores is None:
    apply(STEPS[3], [], 'left out: no score')
  else:
    own = [score_of[id(problem)] for problem in left]
    apply(STEPS[3], below(left, own, least_score))
  return [by_id[id(problem)] for problem in left], steps


def broken(
  problems: Sequence[Problem], rules: text_quality.Rules
) -> list[Removal]:
  """Documents that break a rule, each for the first one."""
  found = ((p, text_quality.broken_rule(p.prompt, rules)) for p in problems)
  return [Removal(p, *why) for p, why in found if why]


def below(
  problems: Sequence[Problem], scores: Sequence[float], least: float
) -> list[Removal]:
  """Documents whose score is below the least one."""
  return [
    Removal(p, f'score below {least:g}', f'{score:.3f}')
    for p, score in zip(problems, scores, strict=True)
    if score < least
  ]


def domain_counts(
  documents: Sequence[Document], kept: Sequence[Document]
) -> dict[str, list[int]]:
  """Domain -> how many documents came, and how many stay; most first."""
  counts = {}
  for place, found in enumerate((documents, kept)):
    for document in found:
      counts.setdefault(document.domain, [0, 0])[place] += 1
  return dict(sorted(counts.items(), key=lambda item: (-item[1][0], item[0])))
