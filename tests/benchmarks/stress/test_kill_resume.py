"""Phases that a kill is aimed at are told by frames that exist."""

import pathlib

import pytest

from benchmarks.stress import kill_resume

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize('frame', kill_resume.PHASES.values())
def test_a_phase_is_a_page_or_a_function_of_the_stage(frame):
  if frame.startswith('k15/'):
    assert (ROOT / frame).is_file()
  else:
    function = frame.removeprefix('in ')
    assert f'def {function}(' in (ROOT / 'k15/stages/rl.py').read_text()
