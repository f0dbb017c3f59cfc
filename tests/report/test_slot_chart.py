"""Tests of k15/report/slot_chart.py."""

from k15.report import figures
from k15.report import slot_chart


def span(slot, start, end, kind='decode', stop='running', version=3, group=7):
  return dict(
    slot=slot,
    kind=kind,
    start=start,
    end=end,
    group_id=group,
    sample_index=0,
    version=version,
    tokens=4,
    stop=stop,
  )


def test_no_spans_no_chart():
  assert slot_chart.slot_charts([]) == []


def test_phases_are_parted_by_long_idleness():
  # Busy for 2 + 4 + 4 = 10 seconds: less than 1 s between them is no border.
  spans = [
    span(0, 0.0, 2.0),
    span(1, 2.9, 6.9),
    span(0, 5.0, 6.0),
    span(0, 8.0, 12.0),
  ]
  assert slot_chart.split_phases(spans) == [(0.0, 6.9), (8.0, 12.0)]
  assert slot_chart.split_phases(spans[:1]) == [(0.0, 2.0)]


def test_ends_tell_budget_and_interruption_from_the_rest():
  spans = [
    span(0, 0.0, 1.0, kind='prefill'),
    span(0, 1.0, 2.0),  # Cut off: prefilled again under new weights.
    span(0, 2.0, 3.0, kind='prefill', version=4),
    span(0, 3.0, 4.0, stop='exhausted', version=4),
    span(0, 4.0, 5.0, version=4),  # The weights change, the cache is kept.
    span(0, 5.0, 6.0, stop='ended', version=5),
    span(0, 6.0, 7.0, stop='interrupted', version=5),
    span(1, 0.0, 7.0),  # Still going.
  ]
  assert slot_chart.ends_of(spans) == [
    '', 'interrupted', '', 'budget spent', '', '', 'interrupted', ''
  ]  # fmt: skip


def test_the_last_phases_stand_side_by_side():
  spans = []
  for version in range(3):
    for slot in range(4):
      at = 10.0 * version
      spans.append(span(slot, at, at + 1, kind='prefill', version=version))
      spans.append(span(slot, at + 1, at + 4, version=version, stop='ended'))
  figure = slot_chart.draw(sorted(spans, key=lambda s: (s['slot'], s['start'])))
  assert len(figure.axes) == 2
  # Each slot decodes for 3 of the phase's 4 seconds.
  titles = [axes.get_title() for axes in figure.axes]
  assert titles == ['slots decode 75 % of the time'] * 2
  assert [text.get_text() for text in figure.axes[0].texts] == ['7·0'] * 4


def test_any_number_of_slots_is_drawn():
  for count in (1, 300):
    spans = [span(slot, 0.0, 1.0 + slot) for slot in range(count)]
    ((_, figure, _),) = slot_chart.slot_charts(spans)
    assert figures.to_png(figure, dpi=20).startswith(b'\x89PNG')
    assert len(figure.axes[0].collections[0].get_paths()) == min(count, 48)
