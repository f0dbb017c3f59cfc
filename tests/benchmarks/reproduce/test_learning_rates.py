"""The area under a curve of held-out accuracy, by arm and learning rate."""

import json

from benchmarks.reproduce import __main__ as reproduce
from launch.units import sweep


def test_areas_are_means_of_curves_and_seeds(tmp_path):
  units = []
  # Two seeds: (0.2 + 0.6) / 2 = 0.4 and (0.4 + 0.8) / 2 = 0.6, 0.5 together.
  for rate, seed, curve in [
    (1e-4, 5, (0.2, 0.6)),
    (1e-4, 6, (0.4, 0.8)),
    (2e-4, 5, (0.5, 0.5)),
  ]:
    name = f'method=rest,learning_rate={rate},seed={seed}'
    overrides = {'optimizer.learning_rate': rate, 'seed': seed}
    units.append(sweep.Unit(name, overrides))
    (tmp_path / name).mkdir()
    records = [{'step': 0}] + [{'evaluation/accuracy': a} for a in curve]
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (tmp_path / name / 'metrics.jsonl').write_text(lines)
  found = reproduce.areas(tmp_path, units)
  assert list(found) == ['method=rest']
  assert {k: round(v, 6) for k, v in found['method=rest'].items()} == {
    1e-4: 0.5,
    2e-4: 0.5,
  }
