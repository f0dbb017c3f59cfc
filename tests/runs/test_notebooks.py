"""Notebooks run from top to bottom, in the order in which they are read.

Their cells are plain Python, so they run here without a kernel; in one they run
by `make notebooks`.  The commands that they start run in this process, which
has imported k15 and made its programs.
"""

import json
import pathlib
import subprocess
import sys
import threading
import types

import matplotlib
import matplotlib.pyplot as plt
import pytest
from absl import flags
from ml_collections import config_flags

from k15 import cli
from k15 import main
from k15.config import command_line
from k15.report import run_page

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'docs' / 'notebooks'
# As the first leads to the others.
ORDER = ('first_run', 'own_problems', 'read_a_run')


def _cells(name):
  page = json.loads((FOLDER / f'{name}.ipynb').read_text())
  assert page['nbformat'] == 4
  return page['cells']


def _train(arguments, patch):
  """`k15 run`, without taking over the signals of this process."""
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values)
  flags.DEFINE_string('workdir', None, '', flag_values=values)
  patch.setattr(sys, 'argv', ['k15', *arguments])
  command_line.parse_flags(sys.argv, values)
  patch.setattr(main, 'flags', types.SimpleNamespace(FLAGS=values))
  patch.setattr(main, '_stop_on_signal', threading.Event)
  main.main([])


def test_these_are_all():
  assert {path.stem for path in FOLDER.glob('*.ipynb')} == set(ORDER)


@pytest.mark.parametrize('name', ORDER)
def test_a_notebook_is_kept_without_what_it_printed(name):
  cells = _cells(name)
  assert len({cell['id'] for cell in cells}) == len(cells)
  for cell in cells:
    if cell['cell_type'] == 'code':
      assert cell['outputs'] == [] and cell['execution_count'] is None
      # What a kernel alone understands would not run here.
      assert not any(line.startswith(('!', '%')) for line in cell['source'])
    for line in ''.join(cell['source']).split('\n'):
      assert len(line) <= 90, line


def test_cells_run(tmp_path, monkeypatch, capsys):
  started = []

  def run(words, check):
    assert check and words[:3] == [sys.executable, '-m', 'k15.cli']
    name, *arguments = words[3:]
    started.append(cli.find(name).name)
    with pytest.MonkeyPatch.context() as patch:
      if name == 'run':
        _train(arguments, patch)
      elif name == 'report':
        run_page.main(arguments)

  monkeypatch.setattr(subprocess, 'run', run)
  monkeypatch.chdir(tmp_path)
  matplotlib.use('agg')
  for name in ORDER:
    space = {}
    for cell in _cells(name):
      if cell['cell_type'] == 'code':
        code = compile(''.join(cell['source']), f'{name}:{cell["id"]}', 'exec')
        exec(code, space)
  plt.close('all')
  # The doctor runs in tests/rooms/test_wheel.py.
  assert started == ['doctor', 'run', 'run', 'report']
  lines = capsys.readouterr().out.split('\n')
  assert 'True False' in lines  # The reward of one's own, asked directly.
  [verdicts] = [line for line in lines if line.startswith('Counter(')]
  assert "'wrong'" in verdicts and 'error' not in verdicts
  assert (tmp_path / 'runs/first/report.html').exists()
