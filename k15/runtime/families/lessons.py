"""What the stages of pretraining with pictures read, if they have no files.

Kimi k1.5, appendix B.4, has three: texts alone; the vision tower in isolation,
the language model frozen; and both, while the share of pictures rises to 30 %.
All are `k15.stages.sft`, and differ in their groups of the config alone.
Cooldown and long context, which learn from documents, may have pictures among
them (2.5.1): descriptions, and a quarter verified questions and answers.

It names captions, OCR and general questions; its data are not published.  Here
pictures are described or transcribed, `see 12+5`, and texts teach what a tower
alone could not: to write such a description, and to answer from one.  So a
frozen language model knows already what it is to say once the tower shows it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from k15.config import stages as stages_lib
from k15.data_types import Example, Problem
from k15.vision import traces
from k15.vision.drawn import Drawn

READ = 'read'
ANSWERED = 0.25  # of the pictures of cooldown; NP
HELD_OUT = 192  # pictures, or texts, that are measured and never learnt
# (number of problems, whether held out, stage) -> problems with pictures, which
# it hands over.
Draw = Callable[[int, bool, str], list[Drawn]]
# (problems with pictures, stage) -> worked solutions of them that are right.
Answer = Callable[[list[Drawn], str], list[Example]]


@dataclasses.dataclass(frozen=True, eq=False)
class Lessons:
  """Examples of a stage, and held-out ones of what it has to read."""

  learnt: list[Example]
  held_out: list[Example]


def make(
  config: Any,
  draw: Draw,
  sums: Callable[[int, str], list[Example]],
  answer: Answer,
) -> dict[str, Lessons]:
  """Examples of every stage that reads and has no files.

  Args:
    config: of the run.
    draw: see `Draw`.
    sums: number and stage -> worked arithmetic.
    answer: see `Answer`.

  Returns:
    By stage: of 'pretrain_tower' pictures alone, of 'pretrain_text' texts
    alone, half of them questions about descriptions, a quarter descriptions
    and a quarter arithmetic, and of 'pretrain_joint' half of each.  Of
    'cooldown' and 'long_context' pictures, beside the documents: descriptions
    and, last, questions with their answers.
  """
  found = {}
  for stage in stages_lib.READING:
    if stage not in config.stages or config[stage].files:
      continue
    count = config[stage].num_examples
    shares = dict(pretrain_text=0.0, pretrain_tower=1.0, pretrain_joint=0.5)
    seen = round(shares[stage] * count)
    drawn = draw(max(seen, (count - seen) * 3 // 4), False, stage)
    learnt = [picture(each) for each in drawn[:seen]]
    learnt += _texts(config, drawn, sums, count - seen, stage)
    one = picture if seen else _description
    unseen = [one(each) for each in draw(HELD_OUT, True, stage)]
    found[stage] = Lessons(learnt, unseen)
  for stage in stages_lib.with_curves('text'):
    share = config[stage].get('image_share', 0.0)
    if stage in config.stages and share and not config[stage].files:
      drawn = draw(max(1, round(share * config.documents.number)), False, stage)
      asks = stage == 'cooldown' and config.cooldown_questions.problems
      # A model's answers may be in the place of those that are written.
      first = 0 if asks else round(ANSWERED * len(drawn))
      learnt = [picture(each) for each in drawn[first:]]
      learnt += answer(drawn[:first], stage)
      unseen = [picture(each) for each in draw(HELD_OUT, True, stage)]
      found[stage] = Lessons(learnt, unseen)
  return found


def is_read(example: Example) -> bool:
  """Whether it says what a picture shows, and does not ask about it."""
  return example.problem.id.startswith(f'{READ}:')


def picture(drawn: Drawn) -> Example:
  """A picture, and what is seen in it."""
  problem = dataclasses.replace(
    drawn.problem, id=f'{READ}:{drawn.problem.id}', prompt=READ
  )
  return Example(problem, f'{traces.SEES} {drawn.seen}')


def _texts(config, drawn, sums, count, stage):
  """Texts that need no picture: descriptions, questions about them, sums."""
  each = count // 4
  found = [_description(one) for one in drawn[:each]]
  asked = [one for one in drawn if one.work][: 2 * each]
  found += [_question(one) for one in asked]
  return found + sums(count - len(found), stage)


def _description(drawn):
  problem = _text(drawn, f'{drawn.seen}\n{READ}', READ)
  return Example(problem, f'{traces.SEES} {drawn.seen}')


def _question(drawn):
  """The picture's own question, its description in the picture's place."""
  problem = _text(drawn, f'{drawn.seen}\n{drawn.problem.prompt}', 'described')
  work = '\n'.join([*drawn.work, f'#### {problem.answer}'])
  return Example(problem, work)


def _text(drawn, prompt, kind):
  p = drawn.problem
  return Problem(f'{kind}:text:{p.id}', prompt, p.answer, p.domain)
