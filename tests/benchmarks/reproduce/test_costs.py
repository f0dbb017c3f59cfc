"""What figures cost, by the seconds of their runs."""

from benchmarks.reproduce import costs


def _run(seed, seconds, *curve, **begins_with):
  return dict(
    overrides={'seed': seed},
    seconds=seconds,
    begins_with=begins_with,
    curves={'evaluation/accuracy': dict(value=list(curve))},
  )


def test_what_figures_share_counts_once():
  first = dict(
    name='tau',
    arms={
      'none': {'0': _run(0, 60.0, 0.1, warm_up=120.0)},
      # Its twin by chance is no copy: both are of this figure.
      'some': {'0': _run(0, 60.0, 0.1, warm_up=120.0)},
    },
  )
  second = dict(
    name='grpo',
    arms={
      'ours': {'0': _run(0, 60.0, 0.1, warm_up=120.0)},
      'GRPO': {'0': _run(0, 60.0, 0.2, other=30.0)},
    },
  )
  del second['arms']['ours']['0']['begins_with']  # It is younger than some.
  assert [line.split() for line in costs.to_lines([first, second])] == [
    ['figure', 'runs', 'shared', 'core-minutes', 'warm-ups'],
    ['tau', '2', '0', '2.0', '2.0'],
    ['grpo', '2', '1', '1.0', '0.5'],
    ['all', '4', '1', '3.0', '2.5'],
    # 330 seconds on two cores.
    ['0.0', 'hours', 'on', 'two', 'cores'],
  ]
