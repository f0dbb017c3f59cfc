"""The page that compares runs: one HTML file that needs no other."""

import collections
import itertools
import os
from collections.abc import Mapping, Sequence

from k15 import files
from k15.config import stages as stages_lib
from k15.equations import correctness
from k15.report import charts
from k15.report import comparison_figures
from k15.report import comparison_tables
from k15.report import groups as groups_lib
from k15.report import markup
from k15.report import pictures
from k15.report import runs as runs_lib
from k15.report import scores as scores_lib
from k15.report import stage_charts
from k15.report.groups import Group

_KINDS = {'They disagree': 6, 'All are right': 2, 'All are wrong': 2}
_FINAL = (
  'Held-out problems after the last stage; reward and length of training '
  'responses, last 5 iterations, of finished runs where there are any. In '
  'small type: the difference to the first group, paired where both have the '
  'same seeds, or of one seed each the same problems, else Welch’s; bold where '
  'its interval leaves out zero. An interval over problems says how well one '
  'model was measured, not how another seed would come out.'
)
_MANY = (
  ' Of so many differences some leave out zero by chance: about one in twenty.'
)
_BARS = (
  '95 % intervals: solid over seeds, dotted over the problems of the one seed.'
)
_CURVES = (
  'Thin: seeds, as running means. Thick: the mean of a group’s seeds, dotted '
  'where some have not come so far. Band: its 95 % interval, Student t over '
  'seeds, iteration by iteration.'
)
_RESPONSES = (
  'To the same held-out problems, a column each: the first sample of one seed, '
  'the same for all where they share one. Taken at even distances from the '
  'list of problems, not picked.'
)
_CONFIG = (
  'Keys that differ, and nothing else; marked where unlike the first. {seed} '
  'stands for what the seed decides; a name leaves out what most groups have, '
  'and base has nothing else.'
)


def write_comparison(
  paths: Sequence[str | os.PathLike], out: str | os.PathLike
) -> str:
  """Writes the page.

  Args:
    paths: directories of runs that are finished, going or broken off.

  Returns:
    Its path.

  Raises:
    ValueError: a path is no run.
  """
  runs = runs_lib.read(paths)
  groups = groups_lib.group(runs)
  # Of a single group, its runs are what there is to compare.
  several = len(groups) > 1
  columns = groups if several else groups_lib.by_run(groups[0])
  scores = [scores_lib.of_group(found) for found in groups]
  body = [
    _title(groups),
    comparison_tables.key(groups),
    _final(groups, scores),
    markup.section(
      'Config differences',
      comparison_tables.differences(columns, several),
      _CONFIG,
    ),
    *_curves(groups),
    _responses(columns, several),
    _runs(groups),
  ]
  document = markup.document(
    'k15: comparison', '\n'.join(body), comparison_tables.STYLE
  )
  files.replace_file(out, document.encode())
  return os.fspath(out)


def _title(groups):
  runs = [run for found in groups for run in found.runs]
  facts = [_counted(len(runs), 'run'), _counted(len(groups), 'group')]
  going = [r for r in runs if not runs_lib.is_finished(r.config, r.summary)]
  if going:
    facts.append(f'{len(going)} not finished')
  facts.append('runs of a group differ only in the seed')
  return markup.title('Comparison of runs', ' · '.join(facts))


def _final(groups, scores):
  intro = _FINAL + (_MANY if len(groups) > 5 else '')
  estimates, seeds = {}, {}
  for found, own in zip(groups, scores, strict=True):
    estimates[found.label] = tuple(
      scores_lib.estimate(own, metric) for metric in ('tokens', 'accuracy')
    )
    tokens, accuracy = (own.by_seed.get(m, {}) for m in ('tokens', 'accuracy'))
    seeds[found.label] = [(tokens[s], accuracy[s]) for s in tokens]
  made = []
  if any(seeds.values()):
    accuracies = {label: pair[1] for label, pair in estimates.items()}
    made = [
      (
        'Accuracy against tokens',
        comparison_figures.against_tokens(estimates, seeds),
        'After the last stage. Small: seeds. ' + _BARS,
      )
    ]
    if len(groups) > 1:
      picture = comparison_figures.ranges(accuracies)
      made.append(('Held-out accuracy', picture, _BARS))
  table = comparison_tables.final(groups, scores)
  return markup.section('At the end', [table, stage_charts.cards(made)], intro)


def _curves(groups):
  """A section a stage that runs have logged, RL before all others."""
  logged = {
    record.get('stage')
    for found in groups
    for run in found.runs
    for record in run.records
  }
  kinds = map(stages_lib.with_curves, comparison_figures.CHARTS)
  sections = []
  for stage in itertools.chain(*kinds):
    if stage in logged:
      made = comparison_figures.stage_charts(groups, stage)
      title = stages_lib.STAGES[stage].title
      intro = '' if sections else _CURVES
      sections.append(stage_charts.section(title, made, intro))
  return sections


def _responses(groups: Sequence[Group], several: bool) -> str:
  """The same problems, a column a group: where they disagree, then the rest."""
  sides = _sides(groups)
  if len(sides) < 2:
    return ''
  asked = collections.Counter(key for _, own in sides for key in own)
  shared = [key for key, count in asked.items() if count == len(sides)]
  # Groups may be asked other problems: then what two of them were asked has to
  # do.
  if len(shared) < sum(_KINDS.values()):
    shared = [key for key, count in asked.items() if count > 1]
  sides = [side for side in sides if any(key in side[1] for key in shared)]
  kinds = {kind: [] for kind in _KINDS}
  for key in shared:
    verdicts = {
      correctness.is_right(own[key]) for _, own in sides if key in own
    }
    if len(verdicts) > 1:
      kinds['They disagree'].append(key)
    else:
      kinds['All are right' if True in verdicts else 'All are wrong'].append(
        key
      )
  stores = pictures.opened(run.workdir for g in groups for run in g.runs)
  parts = []
  for kind, keys in kinds.items():
    if keys:
      count = f'{len(keys)} of {len(shared)} problems'
      parts.append(markup.heading(kind, count))
    for key in charts.spread(keys, _KINDS[kind]):
      problem = next(own[key] for _, own in sides if key in own)
      answers = _answers(sides, key, several)
      parts.append(pictures.sample(stores, problem, answers))
  if not shared:
    parts = [markup.heading('No problem was asked of two of them.', '')]
  intro = _RESPONSES
  if len(groups) > comparison_tables.COLUMNS:
    intro += f' The first {comparison_tables.COLUMNS} of {len(groups)} groups.'
  return markup.section('Responses side by side', parts, intro)


def _sides(groups) -> list[tuple[tuple[int, str], Mapping]]:
  """((place of a group, what to call it), its first record by problem)."""
  stages = [groups_lib.last_stage(found) for found in groups]
  candidates = [
    [run for run in found.runs if stage in runs_lib.stages(run)]
    for found, stage in zip(groups, stages, strict=True)
  ][: comparison_tables.COLUMNS]
  seeds = [{run.seed for run in own} for own in candidates if own]
  shared = set.intersection(*seeds) - {None} if seeds else ()
  seed = min(shared, default=None)
  sides = []
  for i, own in enumerate(candidates):
    chosen = [run for run in own if run.seed == seed] or own
    records = runs_lib.responses(chosen[0], stages[i]) if chosen else []
    if records:
      seeded = f' · seed {chosen[0].seed}' if chosen[0].seed is not None else ''
      name = f'{groups[i].label}{seeded} · after {stages[i]}'
      # Backwards, so that the first record of each problem is the one that
      # stays.
      first = {scores_lib.problem_key(r): r for r in reversed(records)}
      sides.append(((i, name), dict(reversed(first.items()))))
  return sides


def _answers(sides, key, several):
  """Markup of the response of each side to a problem."""
  for (place, name), own in sides:
    color = comparison_figures.color_of(place if several else 0)
    if key in own:
      answer = markup.response(name, own[key], correctness.is_right(own[key]))
    else:
      answer = comparison_tables.absent(name)
    yield f'<div class="side" style="border-color:{color}">{answer}</div>'


def _runs(groups):
  """Every run by itself, folded."""
  rows, seen = [], []
  for found in groups:
    stage = groups_lib.last_stage(found)
    for run in found.runs:
      own = scores_lib.run_scores(run, stage)
      done, total = runs_lib.progress(run)
      seen.append({m: own[m] for m in comparison_tables.SEEN if m in own})
      is_finished = runs_lib.is_finished(run.config, run.summary)
      rows.append(
        (
          run.name,
          found.label,
          '–' if run.seed is None else str(run.seed),
          'finished' if is_finished else 'not finished',
          f'{done} of {total or "?"}' if done else '–',
          f'{100 * own["accuracy"]:.1f}' if 'accuracy' in own else '–',
          f'{own["tokens"]:.1f}' if 'tokens' in own else '–',
          f'{own["minutes"]:.1f}' if 'minutes' in own else '–',
        )
      )
  head = 'run', 'group', 'seed', 'state', 'iterations', 'accuracy, %'
  shown = [m for m in comparison_tables.SEEN if any(m in own for own in seen)]
  names = [comparison_tables.heading(metric) for metric in shown]
  rows = [
    (*row, *(f'{100 * own[m]:.1f}' if m in own else '–' for m in shown))
    for row, own in zip(rows, seen, strict=True)
  ]
  table = markup.table((*head, 'tokens', 'minutes', *names), rows)
  if len(groups) > 1:
    return markup.folded(f'All {len(rows)} runs', table)
  return markup.section('Runs', [comparison_tables.scrolling(table)])


def _counted(count, noun):
  return f'{count} {noun}{"s" * (count != 1)}'
