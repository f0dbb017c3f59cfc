"""The stages of a run in the report: a section each, and the model's way."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from k15.config import stages as stages_lib
from k15.report import charts
from k15.report import figures
from k15.report import markup
from k15.report import tables

_INK = '#39424e'
_WAY = (
  'Accuracy and tokens on held-out problems after each stage, with standard '
  'errors.'
)


def sections(
  stages: Sequence[str],
  records: Sequence[charts.Record],
  folder: Mapping[str, Mapping[str, Any]],
  funnels: Mapping[str, Mapping[str, Any]],
) -> list[str]:
  """Markup of each stage that has left numbers, in the order of the run.

  Args:
    records: of metrics.jsonl.
    folder: 'evaluate' -> the results by set; a stage of pretraining -> its
      mixture.json.
    funnels: a stage that makes its examples -> its funnel.json.
  """
  parts = []
  for stage in stages:
    if stage == 'evaluate':
      parts.append(_evaluation(folder.get(stage, {})))
    # Runs of other versions may have stages of which nothing is known here.
    row = stages_lib.STAGES.get(stage)
    if row is None or not row.curves:
      continue
    x, table = charts.columns(records, stage)
    found = charts.of_stage(row.curves, x, table)
    parts.append(section(row.title, found, _counts(funnels.get(stage, {}))))
    if row.curves == 'text' and found:
      parts.append(_mixture(row.title, folder.get(stage, {})))
  return parts


def section(title: str, found: Sequence[charts.Chart], intro: str = '') -> str:
  """Markup of some charts under a title."""
  return markup.section(title, [cards(found)], intro)


def cards(found: Sequence[charts.Chart]) -> str:
  """Markup of some charts, in as many columns as fit."""
  return markup.cards(
    [markup.card(n, figures.to_png(f), text) for n, f, text in found]
  )


def way(
  stages: Sequence[str], scores: Mapping[str, Sequence[charts.Record]]
) -> str:
  """Markup of the way of the model through its stages; '' for fewer than two.

  Args:
    scores: stage -> records of its evaluation.
  """
  done = [stage for stage in stages if scores.get(stage)]
  if len(done) < 2:
    return ''
  rows, points = [], []
  for stage in done:
    right = charts.rights(scores[stage])
    tokens = charts.lengths(scores[stage])
    errors = charts.standard_error(right), charts.standard_error(tokens)
    points.append((stage, tokens.mean(), right.mean(), errors[1], errors[0]))
    cut = np.mean([r.get('stop') == 'max_length' for r in scores[stage]])
    rows.append(
      (
        stage,
        f'{100 * right.mean():.1f} ± {100 * errors[0]:.1f}',
        f'{tokens.mean():.1f} ± {errors[1]:.1f}',
        f'{100 * cut:.1f}',
      )
    )
  head = 'after', 'accuracy, %', 'tokens', 'cut, %'
  card = markup.card('The way of the model', figures.to_png(draw(points)), _WAY)
  parts = [markup.cards([card]), markup.table(head, rows)]
  return markup.section('Stages', parts)


def draw(points: Sequence[tuple[str, float, float, float, float]]) -> Figure:
  """A point a stage, joined in their order.

  Args:
    points: (stage, tokens, accuracy, and the standard errors of the two).
  """
  figure, axes = figures.canvas(
    'mean response length, tokens', 'accuracy', (5.6, 3.4)
  )
  _, tokens, accuracy, token_errors, errors = zip(*points, strict=True)
  for i in range(len(points) - 1):
    axes.annotate(
      '',
      (tokens[i + 1], accuracy[i + 1]),
      (tokens[i], accuracy[i]),
      arrowprops=dict(arrowstyle='->', color='#98a4b5', linewidth=1.2),
    )
  axes.errorbar(
    tokens, accuracy, errors, token_errors,
    fmt='o', color=figures.AFTER, ecolor='#c3cad4', elinewidth=1,
  )  # fmt: skip
  for stage, x, y, _, _ in points:
    axes.annotate(
      stage, (x, y), (6, 5), textcoords='offset points', fontsize=8.5,
      color=_INK,
    )  # fmt: skip
  axes.margins(0.14)
  return figure


def _mixture(title, kinds):
  """What rows had of each domain, beside what was asked."""
  rows = [
    (
      domain, kind, f'{100 * found["there"]:.1f}',
      f'{100 * found["asked"]:.1f}', f'{100 * found["share"]:.1f}',
      f'{found["turns"]:.2f}',
    )
    for kind, mixture in kinds.items()
    for domain, found in mixture['domains'].items()
  ]  # fmt: skip
  if not rows:
    return ''
  head = (
    'domain', 'attention', 'of all tokens, %', 'asked, %', 'learnt from, %',
    'gone through, times',
  )  # fmt: skip
  return markup.section(f'{title}: mixture', [markup.table(head, rows)])


def _counts(funnel):
  counts = {k: v for k, v in funnel.items() if isinstance(v, int)}
  return ', '.join(f'{v:,} {k.replace("_", " ")}' for k, v in counts.items())


def _evaluation(results):
  if not results:
    return ''
  level = next(iter(results.values())).get('interval', 0.95)
  text = tables.of_results(results, level)
  return markup.section('Evaluation', [markup.plain(text)])
