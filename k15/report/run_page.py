"""Writes report.html: a run's curves, scores and responses on one page.

  python -m k15.report RUN
  python -m k15.report RUN RUN ... [--out=comparison.html]

Several runs are compared on a page of their own (comparison_page.py); the page
of one, report.html, is in its workdir.  Reads what a run leaves there, in
whatever state it is: config.json, summary.json, metrics.jsonl,
trajectories.jsonl, timeline*.jsonl, evaluation_<stage>.jsonl, the funnels of
stages, and the pictures in images.  What is missing is left out.
"""

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Sequence

from k15 import files
from k15.equations import correctness
from k15.report import charts
from k15.report import comparison_page
from k15.report import figures
from k15.report import funnel_chart
from k15.report import markup
from k15.report import pictures
from k15.report import runs
from k15.report import slot_chart
from k15.report import stage_charts

_CHANGES = {  # right before, right after, how many are shown
  'Wrong, then right': (False, True, 4),
  'Right both times': (True, True, 2),
  'Wrong both times': (False, False, 2),
  'Right, then wrong': (True, False, 2),
}
_VERDICTS = {'Right': True, 'Wrong': False}
_SHOWN = 3  # responses of a verdict where there is no before and after
_COMPARISON = 'comparison.html'
_EDGE = 0.2  # of the iterations count as early, and as many as late
_CHOICE = 'Taken at even distances from the list of problems, not picked.'
_SEGMENTS = (
  'Samples logged during training. A response that outgrows the token budget '
  'of an iteration goes on in the next, as a further segment written by the '
  'policy of that iteration.'
)


def write_report(workdir: str | os.PathLike) -> str:
  """Writes `report.html` and, once RL has begun, `learning_curve.png`.

  Args:
    workdir: directory of a run that is finished, going or broken off.

  Returns:
    Path of the page: one file that needs no other.
  """
  workdir = pathlib.Path(workdir)
  name = workdir.resolve().name
  config = files.read_json(workdir / 'config.json')
  summary = files.read_json(workdir / 'summary.json')
  records = files.read_jsonl(workdir / 'metrics.jsonl')
  trained = files.read_jsonl(workdir / 'trajectories.jsonl')
  stages = config.get('stages', tuple(charts.STAGES))
  all_scores = {
    stage: files.read_jsonl(workdir / f'evaluation_{stage}.jsonl')
    for stage in (*charts.STAGES, *stages)
  }
  scores = {s: all_scores[s] for s in charts.STAGES if all_scores[s]}
  funnels = {s: files.read_json(workdir / s / 'funnel.json') for s in stages}
  folder = dict(evaluate=summary.get('evaluation', {}))
  for stage in stages:
    mixture = files.read_json(workdir / f'{stage}_tokens' / 'mixture.json')
    folder |= {stage: mixture} if mixture else {}
  iterations, rl = charts.columns(records, 'rl')
  stores = pictures.opened([workdir])
  body = [
    _header(name, config, summary, records),
    markup.tiles(_tiles(config, summary, records, scores)),
    markup.settings(config),
    stage_charts.way(stages, all_scores),
    funnel_chart.section(files.read_json(workdir / 'curation' / 'funnel.json')),
    *_cleaned_documents(workdir, stages),
    *stage_charts.sections(stages, records, folder, funnels),
    stage_charts.section('Held-out problems', charts.score_charts(scores)),
    *pictures.sections(stores, stages, all_scores, summary, records),
    markup.section('Rollout', [markup.cards(_slots(workdir))]),
    _held_out_responses(scores, stores),
    _training_responses(trained, stores),
  ]
  document = markup.document(f'k15: {name}', '\n'.join(body))
  files.replace_file(workdir / 'report.html', document.encode())
  if rl.keys() >= charts.CURVE:
    curve = (rl[key] for key in ('rl/reward', 'rl/length_mean'))
    png = figures.to_png(figures.learning_curve(iterations, *curve))
    files.replace_file(workdir / 'learning_curve.png', png)
  return str(workdir / 'report.html')


def _cleaned_documents(workdir, stages):
  """A section for each file of documents that was cleaned before the run."""
  return [
    funnel_chart.of_documents(
      stage, files.read_json(workdir / f'{stage}_tokens' / 'cleaned.json')
    )
    for stage in stages
  ]


def _header(name, config, summary, records):
  is_finished = runs.is_finished(config, summary)
  facts = ['Finished' if is_finished else 'Not finished']
  done = runs.iterations(records)
  if done:
    total = config.get('rl', {}).get('iterations', '?')
    facts.append(f'{done} of {total} RL iterations')
  times = [record['time'] for record in records if record.get('time')]
  if times:
    stamp = time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(max(times)))
    facts.append(f'last record {stamp}')
  return markup.title(name, ' · '.join(facts))


def _tiles(config, summary, records, scores):
  tiles = []
  if scores:
    right = {stage: charts.rights(found) for stage, found in scores.items()}
    errors = (100 * charts.standard_error(r) for r in right.values())
    note = ' and '.join(f'± {e:.1f}' for e in errors) + ' (standard error)'
    means = {stage: 100 * r.mean() for stage, r in right.items()}
    tiles.append(markup.tile('Accuracy, SFT → RL', _arrow(means, ' %'), note))
    means = {s: charts.lengths(found).mean() for s, found in scores.items()}
    note = 'mean tokens, right and wrong'
    tiles.append(markup.tile('Length, SFT → RL', _arrow(means), note))
    found = next(iter(scores.values()))
    problems = len({record.get('problem_id') for record in found})
    note = f'{len(found)} responses each time'
    tiles.append(markup.tile('Held-out problems', str(problems), note))
  tiles += _part_tiles(summary) + _set_tiles(summary)
  alike = {s: runs.agreement(summary, s) for s in charts.STAGES}
  means = {s: 100 * v['agreement'] for s, v in alike.items() if v}
  if means:
    note = 'a text and its picture answered alike'
    tiles.append(markup.tile('Agreement', _arrow(means, ' %'), note))
  times = [record['time'] for record in records if record.get('time')]
  seconds = summary.get('seconds')
  if seconds is None and times:
    seconds = max(times) - min(times)
  if seconds is not None:
    tiles.append(markup.tile('Minutes', f'{seconds / 60:.1f}', 'wall clock'))
  if 'seed' in config:
    tiles.append(markup.tile('Seed', str(config['seed'])))
  return tiles


def _part_tiles(summary):
  """Accuracy on the parts of the held-out problems, if they have parts."""
  found = {s: summary.get(f'parts_after_{s}', {}) for s in charts.STAGES}
  problems = {
    name: part['problems']
    for parts in found.values()
    for name, part in parts.items()
  }
  tiles = []
  for name, count in problems.items():
    means = {
      stage: 100 * parts[name]['accuracy']
      for stage, parts in found.items()
      if name in parts
    }
    label = f'Accuracy, {name.replace("_", " ")}'
    tiles.append(markup.tile(label, _arrow(means, ' %'), f'{count} problems'))
  return tiles


def _set_tiles(summary):
  """pass@1 of sets that were asked before all stages, and after."""
  after, tiles = summary.get('evaluation', {}), []
  for name, measures in summary.get('evaluation_before', {}).items():
    values = [m['pass@1']['value'] for m in (measures, after.get(name)) if m]
    shown = ' → '.join(f'{100 * value:.1f}' for value in values)
    note = f'{measures["problems"]} problems, pass@1'
    tiles.append(markup.tile(f'{name}, before → after', f'{shown} %', note))
  return tiles


def _arrow(means, unit=''):
  """Before and after RL, open where a stage has no evaluation yet."""
  shown = (f'{means[s]:.1f}' if s in means else '…' for s in charts.STAGES)
  return ' → '.join(shown) + unit


def _slots(workdir):
  """A wide card for each process that decoded."""
  cards = []
  for path in sorted(workdir.glob('timeline*.jsonl')):
    worker = path.stem.removeprefix('timeline').strip('-')
    found = slot_chart.slot_charts(files.read_jsonl(path))
    for title, figure, caption in found:
      title = f'{title}: {worker}' if worker else title
      cards.append(
        markup.card(title, figures.to_png(figure), caption, wide=True)
      )
  return cards


def _held_out_responses(scores, stores):
  """The same problems before and after; one evaluation while RL is going."""
  if len(scores) == len(charts.STAGES):
    parts = _before_and_after(scores, stores)
  else:
    parts = [
      part
      for stage, found in scores.items()
      for part in _by_verdict(found, stores, charts.STAGES[stage])
    ]
  return markup.section('Responses to held-out problems', parts, _CHOICE)


def _before_and_after(scores, stores):
  sft, rl = (
    {record.get('problem_id'): record for record in reversed(scores[stage])}
    for stage in charts.STAGES
  )  # The first response to each problem.
  both = [name for name in reversed(sft) if name in rl]
  change = {
    n: (correctness.is_right(sft[n]), correctness.is_right(rl[n])) for n in both
  }
  parts = []
  for title, (was, now, shown) in _CHANGES.items():
    names = [name for name in both if change[name] == (was, now)]
    if names:
      parts.append(
        markup.heading(title, f'{len(names)} of {len(both)} problems')
      )
    for name in charts.spread(names, shown):
      pair = [
        markup.response('after SFT', sft[name], was),
        markup.response('after RL', rl[name], now),
      ]
      parts.append(pictures.sample(stores, sft[name], pair))
  return parts


def _by_verdict(records, stores, label=''):
  """Some right and some wrong ones, with what share of all they are."""
  parts = []
  for title, verdict in _VERDICTS.items():
    chosen = [r for r in records if correctness.is_right(r) == verdict]
    if chosen:
      count = f'{len(chosen)} of {len(records)} responses'
      parts.append(markup.heading(title, count))
    for record in charts.spread(chosen, _SHOWN):
      written_by = label or f'iteration {record.get("iteration")}'
      response = markup.response(written_by, record, verdict)
      parts.append(pictures.sample(stores, record, [response]))
  return parts


def _training_responses(records, stores):
  """Early iterations on the left, late ones on the right."""
  scored = [r for r in records if r.get('reward') is not None]
  iterations = sorted({r.get('iteration', 0) for r in scored})
  edge = max(1, round(_EDGE * len(iterations)))
  # Late of what is not early: a run of one iteration has no late one.
  periods = {'Early': iterations[:edge], 'Late': iterations[edge:][-edge:]}
  sides = []
  for name, period in periods.items():
    if period:
      chosen = [r for r in scored if r.get('iteration', 0) in period]
      title = f'{name}: iterations {period[0]} to {period[-1]}'
      sides.append((title, _by_verdict(chosen, stores)))
  parts = [markup.columns(sides)] if sides else []
  return markup.section('Responses from training', parts, _SEGMENTS)


def main(argv: Sequence[str]) -> None:
  """The command; a path that is no run ends it with 2."""
  parser = argparse.ArgumentParser(
    prog='python -m k15.report',
    description='Writes RUN/report.html; of several runs, a page that compares '
    'them.',
  )
  parser.add_argument('runs', nargs='+', metavar='RUN', help='a workdir')
  parser.add_argument(
    '--out', metavar='FILE', help=f'of the comparison, {_COMPARISON} if not set'
  )
  args = parser.parse_args(argv)
  if len(args.runs) == 1 and args.out:
    parser.error('--out is for several runs: one has its page in its workdir')
  try:
    for run in args.runs:
      runs.check(run)
  except ValueError as error:
    print(f'k15: {error}', file=sys.stderr)
    sys.exit(2)
  if len(args.runs) == 1:
    print(write_report(args.runs[0]))
  else:
    out = args.out or _COMPARISON
    print(comparison_page.write_comparison(args.runs, out))
