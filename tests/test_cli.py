"""`k15 COMMAND` is the module's own command, without what it does not need."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from k15 import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _run(*arguments, **options):
  return subprocess.run(
    [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True,
    **options,
  )  # fmt: skip


def test_help_names_all_and_imports_neither_jax_nor_numpy():
  code = (
    'import sys; from k15 import cli; cli.main(["k15", "--help"]);'
    ' sys.exit(len({"jax", "numpy", "matplotlib"} & set(sys.modules)))'
  )
  done = _run('-c', code)
  assert done.returncode == 0, done.stderr
  for command in cli.COMMANDS:
    assert f'\n  {command.name} ' in done.stdout
  assert done.stdout.startswith('usage: k15 COMMAND')


@pytest.mark.parametrize('command', cli.COMMANDS, ids=lambda c: c.name)
def test_each_is_a_page_that_runs_as_a_command(command):
  origin = pathlib.Path(importlib.util.find_spec(command.module).origin)
  if origin.name == '__init__.py':
    origin = origin.with_name('__main__.py')
  assert "__name__ == '__main__'" in origin.read_text()


# Where another test has imported the module, which a command never has.
@pytest.mark.filterwarnings('ignore:.*found in sys.modules')
def test_the_arguments_go_to_the_module_and_its_exit_code_comes_back(
  monkeypatch, capsys
):
  monkeypatch.setattr(sys, 'path', list(sys.path))
  monkeypatch.setattr(sys, 'argv', ['k15'])
  with pytest.raises(SystemExit) as ended:
    cli.main(['k15', 'sweep', '--config=none.py'])
  assert ended.value.code == 2
  assert "no file 'none.py'" in capsys.readouterr().err


def test_a_default_gives_way_to_the_same_flag():
  flag = '--config=experiments/evaluate.py'
  assert cli.with_default(flag, ['--workdir=a']) == [flag, '--workdir=a']
  for theirs in (['--config=b.py'], ['--config', 'b.py'], ['-config=b.py']):
    assert cli.with_default(flag, theirs) == theirs
  # A key of the config is another flag.
  assert cli.with_default(flag, ['--config.seed=1'])[0] == flag
  assert cli.with_default('', ['x']) == ['x']


def test_what_is_no_command_is_told_with_the_closest(capsys):
  for wrong, hint in (('xyz', '--help has all'), ('docter', 'k15 doctor')):
    with pytest.raises(SystemExit) as ended:
      cli.main(['k15', wrong])
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err


def test_a_missing_extra_is_a_sentence(monkeypatch, capsys):
  def fail(*_, **__):
    raise ModuleNotFoundError('No module named x', name='pyarrow.parquet')

  monkeypatch.setattr(sys, 'path', list(sys.path))
  monkeypatch.setattr(sys, 'argv', ['k15'])
  monkeypatch.setattr(cli.runpy, 'run_module', fail)
  with pytest.raises(SystemExit) as ended:
    cli.main(['k15', 'report'])
  assert ended.value.code == 2
  assert capsys.readouterr().err.startswith('k15: k15 report needs pyarrow')


def test_the_version(capsys):
  cli.main(['k15', '--version'])
  assert capsys.readouterr().out.startswith('k15 ')
