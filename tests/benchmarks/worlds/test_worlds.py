"""The command, on a diagram of tiny worlds."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.worlds import __main__ as worlds
from benchmarks.worlds import diagrams
from benchmarks.worlds import runs
from benchmarks.worlds import variants
from benchmarks.worlds.facts import Nature
from benchmarks.worlds.facts import World
from benchmarks.worlds.learning import Arm

TINY = World(
  symbols=4, operators=4, steps=2, width=4, problems=16, held_out=4,
  drawn=4, group=4, updates=2, iterations=4, every=2, sft_steps=20,
)  # fmt: skip
COINS = 'by coins of the response'


def test_a_quick_diagram_leaves_its_files(tmp_path, monkeypatch, capsys):
  full = diagrams.DIAGRAMS['negative_gradients']
  places = [
    dataclasses.replace(place, world=TINY)
    for place in full.places
    if place.series == COINS
  ]
  panels = [p for p in full.panels if p.lines[0].series == COINS]
  tiny = dataclasses.replace(full, places=places, panels=panels)
  monkeypatch.setitem(diagrams.DIAGRAMS, 'tiny', tiny)
  command = ['tiny', '--quick', '--with', 'slip=0.1', f'--out={tmp_path}']
  assert worlds.main(command) == 0
  assert (tmp_path / 'tiny.png').read_bytes().startswith(b'\x89PNG')
  found = json.loads((tmp_path / 'tiny.json').read_text())
  assert found['seeds'] == worlds.QUICK.seeds
  assert found['command'].endswith('worlds tiny --quick --with slip=0.1')
  assert found['note'].endswith('few seeds. All places with slip=0.1.')
  assert not found['finding']
  # Two panels, three lines, the ends and the middle of the axis.
  assert len(found['rows']) == 2 * 3 * 3
  assert all(len(row['values']) == 5 for row in found['rows'])
  assert {row['rate'] for row in found['rates']} <= {*diagrams.ADAM_RATES}
  assert 'responses_per_second' in capsys.readouterr().out

  # The same seed, the same curves, whatever runs beside it.
  case = runs.Case(TINY, Nature(), Arm(), 3)
  beside = [dataclasses.replace(case, seed=s) for s in (5, 3, 4)]
  [one], two = runs.simulate([case]), runs.simulate(beside)[1]
  for a, b in zip(one, two, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)
  assert one.accuracy.shape == (3,)
  other = runs.simulate(beside)[0]
  assert np.abs(other.accuracy - one.accuracy).max() > 1e-3


def test_an_unknown_name(capsys):
  assert worlds.main(['tau', 'tao']) == 2
  assert 'no tao; there are' in capsys.readouterr().err


def test_every_line_has_its_arms_and_places():
  for name, diagram in diagrams.DIAGRAMS.items():
    series = {place.series for place in diagram.places}
    for line in [line for panel in diagram.panels for line in panel.lines]:
      assert line.series in series, name
      assert {line.arm, line.minus} <= {*diagram.arms, ''}, name
    titles = [panel.title for panel in diagram.panels]
    assert len({*titles}) == len(titles), name


def test_sizes_that_do_not_fit():
  with pytest.raises(ValueError, match='updates=5 does not divide drawn=32'):
    World(updates=5)
  with pytest.raises(ValueError, match='every=5 does not divide iterations='):
    World(every=5)
  with pytest.raises(ValueError, match='32 problems are drawn of 10'):
    diagrams.Place(1, World(problems=100), Nature(pool=0.1))


def test_worlds_of_ones_own():
  tau = diagrams.DIAGRAMS['tau']
  mine = variants.changed(tau, ['drawn=128', 'luck=0.2', 'easy=0.3,0.8'])
  assert len(mine.places) == len(tau.places)
  for old, new in zip(tau.places, mine.places, strict=True):
    world, nature = new.world, new.nature
    assert (world.drawn, nature.luck, nature.easy) == (128, 0.2, (0.3, 0.8))
    assert (new.x, world.epochs) == (old.x, old.world.epochs)


@pytest.mark.parametrize(
  'setting, sentence',
  [
    ('epochs=2', 'epochs: the places of a line differ in it'),
    ('lucky=0.2', "no 'lucky'; there are symbols, operators"),
    ('drawn=many', "'drawn=many': what is set has to be of type int"),
    ('easy=0.3', "'easy=0.3': what is set has to be two numbers"),
    ('updates=5', 'updates=5 does not divide drawn=32'),
  ],
)
def test_settings_that_cannot_be(setting, sentence, capsys):
  assert worlds.main(['tau', '--with', setting]) == 2
  assert sentence in capsys.readouterr().err


def test_an_axis_is_not_set(capsys):
  assert worlds.main(['priorities', '--with', 'iterations=8']) == 2
  assert 'the axis is computed from it' in capsys.readouterr().err
