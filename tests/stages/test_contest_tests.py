"""The command that makes test cases, with a server that writes generators."""

import http.server
import json
import pathlib
import threading
import time

import forked
import pytest

from k15 import files

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENERATOR = 'Small first.\n```python\nprint(input())\n```'
DOUBLE = [f'print(2 * int(input()) + {n} - {n})' for n in range(10)]


@pytest.fixture
def server():
  """Gives every question the same generator; remembers what it was asked."""
  asked = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      body = self.rfile.read(int(self.headers['Content-Length']))
      asked.append(json.loads(body))
      choice = dict(finish_reason='stop', message=dict(content=GENERATOR))
      self.send_response(200)
      self.end_headers()
      self.wfile.write(json.dumps(dict(choices=[choice])).encode())

    def log_message(self, *args):
      pass

  httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  thread = threading.Thread(target=httpd.serve_forever)
  thread.start()
  yield f'http://127.0.0.1:{httpd.server_port}/v1', asked
  httpd.shutdown()
  thread.join()
  httpd.server_close()


def run(folder, *flags):
  command = [
    'k15.stages.contest_tests', f'--config={ROOT}/experiments/test_cases.py',
    f'--workdir={folder / "run"}', f'--problems={folder / "contest.jsonl"}',
    *flags,
  ]  # fmt: skip
  return forked.run(command, ROOT, folder / str(time.time_ns()))


def test_the_command(server, tmp_path):
  pytest.importorskip('cyaron')
  url, asked = server
  submissions = [dict(language='python', source=text) for text in DOUBLE]
  rows = [
    dict(id='a', statement='Double it.', submissions=submissions),
    dict(
      id='b', statement='Any.', submissions=[], needs_special_judge=True
    ),
  ]  # fmt: skip
  path = tmp_path / 'contest.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  refused = run(tmp_path)
  assert refused.returncode == 2
  assert refused.stderr.endswith(
    'no writer of generators: name a checkpoint, or long_cot_examples.server\n'
  )
  key = '--config.long_cot_examples.server'
  flags = f'{key}={url}', f'{key}_model=m', '--language=cpp'
  done = run(tmp_path, *flags)
  if 'no sandbox' in done.stderr:
    pytest.skip(done.stderr)
  assert done.returncode == 0, done.stderr
  table = done.stdout.strip().split('\n')[-4:]
  assert [line.split()[-4] for line in table] == ['2', '1', '1', '1']
  (kept,) = files.read_jsonl(tmp_path / 'run/problems.jsonl')
  assert kept['prompt'].endswith('whole program in one ```cpp block.')
  assert len(json.loads(kept['answer'])['tests']) == 50
  (body,) = asked
  assert 'CYaRon' in body['messages'][-1]['content']
  # Again: nothing is asked, and nothing runs.
  assert run(tmp_path, *flags).stdout == done.stdout
  assert len(asked) == 1
