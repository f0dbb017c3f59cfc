"""The table of final scores.

The legend and the config differences, as markup.
"""

import re

import run_dirs

from k15 import files
from k15.report import comparison_figures
from k15.report import comparison_tables
from k15.report import groups as groups_lib
from k15.report import runs
from k15.report import scores as scores_lib
from k15.report.groups import Group


def _rows(paths):
  """Cells of each group, of their markup <b> alone; '|' parts two lines."""
  groups = groups_lib.group(runs.read(paths))
  scores = [scores_lib.of_group(found) for found in groups]
  html = comparison_tables.final(groups, scores).replace('<small>', '|')
  return [
    [re.sub('<(?!/?b>)[^>]*>', '', cell) for cell in row.split('</td>')[:-1]]
    for row in html.split('</tr>')[1:-1]
  ]


def _write(path, shift, seeds=(0, 1, 2), **options):
  return [
    run_dirs.write(
      path / f'{shift}-{seed}', seed, rewards=(0.1 * seed + shift,),
      lengths=(40 + 10 * shift + seed % 2,), right=[1, 0, 1, 1],
      config={'tau': shift}, **options,
    )
    for seed in seeds
  ]  # fmt: skip


def test_means_intervals_and_paired_differences(tmp_path):
  first, other = _rows([*_write(tmp_path, 0), *_write(tmp_path, 1)])
  assert first[0] == 'tau=0 |3 seeds · after rl'
  # Rewards 0, 0.1, 0.2: s = 0.1, times 4.303 / sqrt(3).
  assert first[3] == '0.100 ± 0.248' and first[6:] == ['1', '3 seeds']
  # One more for each seed, without exception.
  assert other[3] == '1.100 ± 0.248|<b>+1.000 ± 0.000</b>'
  assert other[1] == '75.0 ± 0.0|+0.0 ± 0.0'
  assert other[7] == '3 seeds|paired, 3 seeds'
  assert other[5] == '2.0 ± 0.0|+0.0 ± 0.0'


def test_one_seed_says_that_its_interval_is_over_problems(tmp_path):
  paths = [*_write(tmp_path, 0, [0]), *_write(tmp_path, 1, [1])]
  first, other = _rows(paths)
  assert first[1] == '75.0 ± 79.6'  # 3.182 / 4
  assert first[3] == '0.000' and first[7] == '4 problems'
  assert other[0] == 'tau=1 |seed 1 · after rl'
  assert other[7] == '4 problems|paired, 4 problems'
  assert other[3] == '1.100|+1.100'


def test_other_seeds_are_said_to_be_unpaired(tmp_path):
  paths = [*_write(tmp_path, 0), *_write(tmp_path, 1, (5, 6))]
  _, other = _rows(paths)
  assert other[7] == '2 seeds|unpaired, 2 seeds'


def test_what_is_not_there_is_a_dash_and_what_is_not_done_is_said(tmp_path):
  (late,) = _write(tmp_path, 1, [7], iterations=9)
  (late / 'summary.json').unlink()
  (late / 'evaluation_rl.jsonl').unlink()
  run_dirs.write(tmp_path / 'sft', stage='sft', right=[1], config={'tau': 3})
  paths = [*_write(tmp_path, 0), *_write(tmp_path, 1), late, tmp_path / 'sft']
  _, _, sft = _rows([p for p in paths if p != late])
  assert sft[3] == '–' and sft[6] == '–'
  rows = _rows([*paths[:3], late])
  assert rows[1][0] == 'tau=1, iterations=9 |seed 7 · 1 of 1 not finished'
  assert rows[1][1] == '–' and rows[1][6] == '1 of 9'


def test_a_cell_over_fewer_seeds_than_its_row_says_so(tmp_path):
  paths = _write(tmp_path, 0)
  record = {'stage': 'rl', 'step': 0, 'rl/reward': 0.0}
  files.replace_jsonl(paths[0] / 'metrics.jsonl', [record])
  (row,) = _rows(paths)
  assert row[3] == '0.100 ± 0.248' and row[7] == '3 seeds'
  # Lengths 41 and 40: s = sqrt(1 / 2), times 12.706 / sqrt(2).
  assert row[4] == '40.5 ± 6.4 (2 seeds)'


def test_runs_on_their_way_are_counted(tmp_path):
  paths = _write(tmp_path, 0)
  (paths[0] / 'summary.json').unlink()
  (row,) = _rows(paths)
  assert row[0].endswith('3 seeds · after rl · 1 of 3 not finished')
  # Accuracy is of its responses; the rest waits for its end.
  assert row[1].endswith('(3 seeds)') and row[7] == '2 seeds'


def _groups(*settings):
  return [Group(f'<g{i}>', s, ()) for i, s in enumerate(settings)]


def test_keys_that_differ_and_nothing_else():
  (table,) = comparison_tables.differences(
    _groups({'a': 1, 'b': 'x', 'c': [1]}, {'a': 1, 'b': '', 'c': [1, 2]})
  )
  assert '<td>b</td><td>x</td><td class="other">&#x27;&#x27;</td>' in table
  assert '<td>c</td><td>1</td><td class="other">1, 2</td>' in table
  assert '<td>a</td>' not in table
  assert '&lt;g0&gt;' in table and '<g0>' not in table
  assert comparison_tables.differences(_groups({'a': 1}, {'a': 1})) == []


def test_keys_of_some_configs_are_folded_and_no_config_has_no_column():
  groups = _groups({}, {'a': 1, 'new': '<b>'}, {'a': 2})
  shown, folded = comparison_tables.differences(groups)
  assert '<td>new</td>' not in shown and '&lt;g0&gt;' not in shown
  assert '<summary>1 key that only some of the configs have' in folded
  assert '<td>&lt;b&gt;</td><td class="other">–</td>' in folded
  # The colours are those of the figures, the place without a config counted.
  assert comparison_figures.color_of(2) in shown
  assert comparison_figures.color_of(0) not in shown


def test_eight_columns_and_fourteen_rows_are_open():
  groups = _groups(*({'a': i} for i in range(19)))
  tables = comparison_tables.differences(groups)
  assert [t.count('<th class="left"><span') for t in tables] == [8, 8, 3]
  assert [t.startswith('<details>') for t in tables] == [False, True, True]
  assert '1 key, groups 9 to 16' in tables[1]
  long = [{f'k{i}': v for i in range(15)} for v in (0, 1)]
  (table,) = comparison_tables.differences(_groups(*long))
  assert '<summary>15 keys</summary>' in table


def test_of_long_values_the_difference_is_shown():
  words = [f'word{i:03}' for i in range(100)]
  (table,) = comparison_tables.differences(
    _groups({'k': [*words, 'x']}, {'k': [*words, 'y']})
  )
  assert ', x</td>' in table and ', y</td>' in table
  assert 'word099' in table and 'word050' not in table and '<td>…' in table


def test_runs_of_one_group_share_its_colour():
  groups = _groups({'seed': 0}, {'seed': 1})
  (table,) = comparison_tables.differences(groups, is_colored=False)
  assert table.count(comparison_figures.color_of(0)) == 2


def test_the_legend_has_eight_and_a_count():
  groups = _groups(*({'a': i} for i in range(11)))
  html = comparison_tables.key(groups)
  assert html.count('class="chip"') == 9
  assert '3 more groups' in html and comparison_figures.GREY in html
  assert '<g1>' not in html
