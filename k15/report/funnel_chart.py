"""Funnels in the report, of problems or documents, and what they removed."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from k15.report import figures
from k15.report import markup

_INK, _REMOVED = '#39424e', '#c8443c'
_TAGS = 24  # the most frequent ones are shown
_SHOWN = 2  # examples of a reason
_INTRO = (
  'How the RL prompt set was made, step by step (Kimi k1.5, section 2.1). '
  'Every removed problem, with its reason, is in curation/removed.jsonl.'
)
_DOCUMENTS = (
  'How documents were cleaned before the stage, step by step (Kimi k1.5, '
  'section 2.5.1). Every removed one is in removed.jsonl beside the file.'
)
_CAPTION = (
  'Blue: {} that stay after the step; red: those it removed. A step in grey '
  'was left out.'
)


def section(funnel: Mapping[str, Any]) -> str:
  """Markup of the prompt set's funnel.json; '' for an empty one."""
  caption = 'Problems of each domain and discipline before and after.'
  balance = 'Balance of tags', caption
  return _section(funnel, 'Prompt set', _INTRO, 'problems', balance)


def of_documents(title: str, cleaned: Mapping[str, Mapping[str, Any]]) -> str:
  """The same of the files that a stage reads, each with its funnel.json.

  Args:
    title: of the stage.
    cleaned: path of a file -> its funnel.
  """
  balance = 'Domains', 'Documents of each domain before and after.'
  return '\n'.join(
    _section(f, f'{title}: {path}', _DOCUMENTS, 'documents', balance)
    for path, f in cleaned.items()
  )


def _section(funnel, title, intro, unit, balance):
  """`unit` is what is counted, `balance` title and caption of the tags."""
  steps, tags = funnel.get('steps', ()), funnel.get('tags', {})
  if not steps:
    return ''
  picture = figures.to_png(draw(steps, unit))
  cards = [markup.card('Funnel', picture, _CAPTION.format(unit))]
  if tags:
    name, caption = balance
    cards.append(markup.card(name, figures.to_png(draw_tags(tags)), caption))
  return markup.section(title, [markup.cards(cards), *_examples(steps)], intro)


def draw(steps: Sequence[Mapping[str, Any]], unit: str = 'problems') -> Figure:
  """A bar a step: how many stay and how many it removed.

  Args:
    steps: records of `funnel.records_of`, at least one.
    unit: what is counted.
  """
  figure = Figure(figsize=(6.4, 0.9 + 0.36 * len(steps)), layout='constrained')
  axes = figure.subplots()
  widest = max(1, steps[0]['before'])
  for place, step in enumerate(steps):
    after, removed = step['after'], step['removed']
    color = '#cfd6df' if step['note'] else figures.AFTER
    axes.barh(place, after, 0.66, color=color)
    axes.barh(place, removed, 0.66, left=after, color=_REMOVED, alpha=0.75)
    label = f'{after:,}' + (f'  (−{removed:,})' if removed else '')
    label = f'{after:,}  left out' if step['note'] else label
    start = after + removed + 0.01 * widest
    axes.text(start, place, label, va='center', fontsize=8.5, color=_INK)
  axes.set_yticks(range(len(steps)), [step['step'] for step in steps])
  _style(axes)
  # Room for the numbers behind the longest bar.
  axes.set_xlim(0, 1.22 * widest)
  axes.set_xlabel(unit, color=_INK, fontsize=9)
  return figure


def draw_tags(tags: Mapping[str, Sequence[int]]) -> Figure:
  """A bar a tag: grey what came to the balance, blue what stays.

  Args:
    tags: [before, after] by tag, most frequent first.
  """
  shown = list(tags.items())[:_TAGS]
  figure = Figure(figsize=(6.4, 0.9 + 0.3 * len(shown)), layout='constrained')
  axes = figure.subplots()
  widest = max(before for _, (before, _) in shown)
  for place, (_, (before, after)) in enumerate(shown):
    axes.barh(place, before, 0.66, color=figures.BEFORE)
    axes.barh(place, after, 0.66, color=figures.AFTER)
    label = f'{after:,}' + (f' of {before:,}' if after < before else '')
    start = before + 0.01 * widest
    axes.text(start, place, label, va='center', fontsize=8, color=_INK)
  names = [tag.replace('$', '')[:44] for tag, _ in shown]
  axes.set_yticks(range(len(shown)), names)
  _style(axes)
  axes.set_xlim(0, 1.22 * widest)
  return figure


def _style(axes):
  axes.invert_yaxis()
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.tick_params(labelsize=8.5, colors=_INK, length=0)
  axes.set_axisbelow(True)
  axes.grid(axis='x', color='#e6e9ee', linewidth=0.8)


def _examples(steps):
  parts = []
  for step in steps:
    shown = dict.fromkeys(step['reasons'], 0)
    for example in step['examples']:
      reason = example['reason']
      if not shown[reason]:
        count = f'{step["reasons"][reason]} removed'
        parts.append(markup.heading(f'{step["step"]}: {reason}', count))
      shown[reason] += 1
      if shown[reason] <= _SHOWN:
        parts.append(_example(example))
  return parts


def _example(example):
  problem = dict(
    prompt=example['prompt'],
    answer=example['answer'],
    problem_id=example['id'],
    domain=example['detail'],
  )
  other = []
  if 'other_prompt' in example:
    label = f'repeats {example["other_id"]}'
    answer = example['other_answer']
    facts = f'answer {answer}' if answer else ''  # Documents have none.
    other = [markup.quotation(label, facts, example['other_prompt'])]
  return markup.sample(problem, other)
