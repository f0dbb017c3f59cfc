"""Overrides on the command line, and mistakes in one sentence."""

import pytest
from absl import flags
from ml_collections import config_flags

from experiments import base
from k15.config import command_line


def _parse(*arguments):
  """Parses a command line the way main does; the values of the flags."""
  argv = ['main', *arguments]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
  flags.DEFINE_string('workdir', '', 'where', flag_values=values)
  flags.mark_flag_as_required('config', flag_values=values)
  rest = command_line.parse_flags(argv, values)
  assert rest == ['main']
  return values


def _parse_error(capsys, *arguments):
  with pytest.raises(SystemExit) as stopped:
    _parse(*arguments)
  assert stopped.value.code == 2
  sentence = capsys.readouterr().err
  assert sentence.startswith('k15: ')
  assert sentence.count('\n') == 1
  return sentence[5:-1]


BASE = f'--config={base.__file__}'


def test_command_line_overrides():
  values = _parse(
    BASE,
    '--config.loss.tau=0.4',
    '--config.rl.group_size',
    '4',
    '--noconfig.policy.qk_norm',
    "--config.stages=('rl',)",
    '--workdir=w',
  )
  assert values.config.loss.tau == 0.4
  assert values.config.rl.group_size == 4
  assert not values.config.policy.qk_norm
  assert values.config.stages == ('rl',)
  assert values.workdir == 'w'


@pytest.mark.parametrize(
  ('argument', 'sentence'),
  [
    (
      '--config.loss.tao=1',
      'there is no key --config.loss.tao; the closest is --config.loss.tau',
    ),
    (
      '--config.tau=1',
      'there is no key --config.tau; the closest is --config.loss.tau',
    ),
    (
      '--config.los.tau=1',
      'there is no key --config.los.tau; the closest is --config.loss.tau',
    ),
    ('--config.zzzz=1', 'there is no key --config.zzzz'),
    (
      '--config.length_reward={}',
      '--config.length_reward is a group; set one of its keys, such as '
      '--config.length_reward.start_iteration=0',
    ),
    (
      '--config.loss.tau=abc',
      '--config.loss.tau=abc: expected a number, such as the default 0.1',
    ),
    (
      '--config.rl.group_size=8.5',
      '--config.rl.group_size=8.5: expected a whole number, such as the '
      'default 8',
    ),
    (
      '--config.policy.qk_norm=maybe',
      '--config.policy.qk_norm=maybe: expected true or false, such as the '
      'default True',
    ),
    (
      "--config.stages=('sft',",
      "--config.stages=('sft',: expected a quoted tuple, such as the default "
      "('sft', 'rl')",
    ),
    ('--config.loss.tau', 'Missing value for flag --config.loss.tau'),
    ('stray', "'stray' is no flag; write --config.key=value"),
  ],
)
def test_mistakes_on_the_command_line(capsys, argument, sentence):
  assert _parse_error(capsys, BASE, argument) == sentence


def test_unknown_and_missing_flags_and_files(capsys):
  assert _parse_error(capsys) == '--config is needed'
  assert _parse_error(capsys, BASE, BASE) == '--config is given twice'
  assert 'wordkir' in _parse_error(capsys, BASE, '--wordkir=3')
  assert _parse_error(capsys, '--config=gone.py') == (
    "--config: no file 'gone.py'"
  )
  assert 'before a value for --config' in _parse_error(
    capsys, '--config.loss.tau=1', BASE
  )


@pytest.mark.parametrize(
  ('line', 'parts'),
  [
    ('config.loss.tao = 1', ('line 4: AttributeError: Key "tao" does not',)),
    (
      'config.los.tau = 1',
      (
        'line 4: ',
        'Did you mean "loss" instead',
      ),
    ),
    ('config.loss.tau = "a"', ('line 4: TypeError', 'tau')),
    ('1 / 0', ('line 4: ZeroDivisionError: division by zero',)),
    ('config.loss.tau = = 1', ('SyntaxError', 'line 4')),
    ('config = None', ('get_config() returns no config but None',)),
  ],
)
def test_mistakes_in_an_experiment_file(capsys, tmp_path, line, parts):
  path = tmp_path / 'mine.py'
  path.write_text(
    'from experiments import base\n'
    'def get_config():\n'
    '  config = base.get_config()\n'
    f'  {line}\n'
    '  return config\n'
  )
  sentence = _parse_error(capsys, f'--config={path}')
  assert str(path) in sentence
  assert all(part in sentence for part in parts), sentence
  assert len(sentence) < 400
