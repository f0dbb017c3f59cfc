"""The shell around what containers run: exit codes and SIGTERM."""

import re
import signal
import subprocess
import sys

import fake_units
import pytest

from launch.cloud import works

# Saves on SIGTERM and leaves with the code of its plan, a line per attempt.
_RUN = """
import pathlib, signal, sys, time
plan = pathlib.Path(sys.argv[1])
step, *rest = plan.read_text().split()
plan.write_text(' '.join(rest))
def leave(*_):
  time.sleep(0.3)
  print('saved', flush=True)
  sys.exit(75)
signal.signal(signal.SIGTERM, leave)
print(step, flush=True)
if step == 'wait':
  # A signal just before one long sleep would be seen after it.
  for _ in range(6000):
    time.sleep(0.1)
sys.exit(int(step))
"""


def _start(script, tmp_path, steps):
  (tmp_path / 'run.py').write_text(_RUN)
  (tmp_path / 'plan').write_text(steps)
  command = [sys.executable, str(tmp_path / 'run.py'), str(tmp_path / 'plan')]
  return subprocess.Popen(
    ['sh', '-c', script, 'sh', *command], stdout=subprocess.PIPE, text=True
  )


def _end(process):
  out = process.communicate(timeout=fake_units.PATIENCE)[0].split()
  return process.returncode, out


def _terminate(process):
  assert process.stdout.readline() == 'wait\n'
  process.send_signal(signal.SIGTERM)
  return _end(process)


def test_once_is_the_command_itself(tmp_path):
  script = works.LOCK_MEMORY + works.ONCE
  assert _end(_start(script, tmp_path, '3')) == (3, ['3'])
  process = _start(script, tmp_path, 'wait')
  assert _terminate(process) == (75, ['saved'])


def test_a_service_fails_however_it_ends(tmp_path):
  assert _end(_start(works.FOREVER, tmp_path, '0')) == (1, ['0'])
  process = _start(works.FOREVER, tmp_path, 'wait')
  assert _terminate(process) == (1, ['saved'])  # It waits for the save.


def test_until_done_starts_what_was_interrupted_again(tmp_path):
  script = works.LOCK_MEMORY + works.UNTIL_DONE
  found = _end(_start(script, tmp_path, '75 75 4'))
  assert found == (4, ['75', '75', '4'])
  process = _start(script, tmp_path, 'wait 0')
  assert _terminate(process) == (0, ['saved', '0'])


def expanded(text, variables):
  """What Kubernetes makes of a text: third_party/forked/golang/expansion.

  `$$` is `$`, and $(NAME) the variable; what is no variable stays as it is.
  """
  return re.sub(
    r'\$\$|\$\((.*?)\)',
    lambda m: '$' if m[0] == '$$' else variables.get(m[1], m[0]),
    text,
    flags=re.DOTALL,
  )


@pytest.mark.parametrize(
  'text',
  [
    '$', '$$', '$$$', '$(K15)', '$$(K15)', '$$$(K15)', 'a$', '$(', '$(K15',
    '${K15} $K15 $@ $!', '\n$$\\boxed{x}$$ and $(K15)', '"$(K15)" `x` \'',
    *works.literal(['$$(K15)']), works.UNTIL_DONE, '',
  ],
)  # fmt: skip
def test_texts_reach_a_container_as_they_are(text):
  [sent] = works.literal([text])
  assert expanded(sent, dict(K15='3')) == text
