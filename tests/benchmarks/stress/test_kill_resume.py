"""Phases that a kill is aimed at are told by frames that exist; a short run."""

import json
import pathlib
import sys
import types

import forked
import pytest

from benchmarks.stress import kill_resume

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.parametrize('frame', kill_resume.PHASES.values())
def test_a_phase_is_a_page(frame):
  assert (ROOT / frame).is_file()


def test_a_killed_run_ends_the_same(monkeypatch, capsys):
  fork = types.SimpleNamespace(Popen=forked.popen)
  monkeypatch.setattr(kill_resume, 'subprocess', fork)
  arguments = ['kill', '--tiny', '--kills=1', '--stops=0']
  monkeypatch.setattr(sys, 'argv', arguments)
  assert kill_resume.main() == 0
  name, _, text = capsys.readouterr().out.splitlines()[-1].partition(' ')
  result = json.loads(text)
  assert name == 'RESULT' and result['kills'] == 1 and result['responses'] > 0
  assert result['mismatches'] == result['trained_twice'] == result['lost'] == 0
