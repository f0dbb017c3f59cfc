"""Phases that a kill is aimed at are told by frames that exist."""

import pathlib

import pytest

from benchmarks.stress import kill_resume

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize('frame', kill_resume.PHASES.values())
def test_a_phase_is_a_page(frame):
  assert (ROOT / frame).is_file()
