"""The legend and the config differences, as markup."""

from k15 import comparison_figures
from k15 import comparison_tables
from k15.comparison import Group


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
