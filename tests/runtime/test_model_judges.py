"""Reward models at work: on disk, in threads, behind HTTP, from their text."""

import concurrent.futures
import contextlib
import http.server
import json
import socket
import threading

import jax
import numpy as np
import pytest
import small_run
import uvicorn

from k15 import serve_reward
from k15.checkpoints import models
from k15.data_types import Problem, StopReason
from k15.generation import judgements
from k15.model import heads
from k15.rewards import reward_model
from k15.rewards import service
from k15.rewards.verdict import Verdict
from k15.runtime import judges
from k15.runtime import model_judges
from k15.runtime import weights

CASES = [('q', '3/4', answer) for answer in ('27/36', '6/8', '2/3', '')]
JUDGES = dict(
  reward_model__max_prompt_length=64,
  reward_model__max_length=4,
  reward__threads=2,
)


def save(context, name, head=None):
  """A model of random weights in the place of a stage's."""
  directory = context.workdir / 'models' / name
  directory.parent.mkdir(parents=True, exist_ok=True)
  models.save(
    directory,
    context.shape,
    weights.init_params(context.layout, 0),
    context.task.tokenizer,
    128,
    models.Origin(name, 1, 1),
    None,
    head=head,
  )
  return directory


def submitted(context, texts):
  """Verdicts of a scorer, all asked for at once."""
  with contextlib.closing(
    judges.make_scorer(context.config, context.task, workdir=context.workdir)
  ) as scorer:
    problem = Problem('p', 'q', '3/4')
    asked = [scorer.submit(problem, t, StopReason.EOS) for t in texts]
    return [future.result() for future in asked]


@contextlib.contextmanager
def serving(app):
  """The port of an application in a thread of its own."""
  config = uvicorn.Config(app, http='h11', lifespan='off', log_level='error')
  server = uvicorn.Server(config)
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
      yield listener.getsockname()[1]
    finally:
      server.should_exit = True
      thread.join()


def test_a_classic_model_on_disk_gives_the_values_it_had(tmp_path):
  context = small_run.make_context(tmp_path, **JUDGES)
  rng = np.random.default_rng(0)
  width = context.shape.d_model
  head = dict(kernel=rng.normal(size=(width, 1)), bias=np.zeros(1))
  params = dict(
    trunk=weights.init_params(context.layout, 0),
    head=jax.tree.map(np.float32, head),
  )
  encode = context.task.tokenizer.begin
  prompts = [reward_model.make_prompt(case) for case in CASES]
  rows = heads.pad_rows([encode(p) for p in prompts], 64)
  # Between them, so that some are right and some wrong.
  middle = -np.mean(heads.values(context.shape, params, *rows))
  head['bias'] = params['head']['bias'] = np.float32([middle])
  values = heads.values(context.shape, params, *rows)
  assert len({bool(v > 0) for v in values}) == 2
  save(context, 'classic_rm', head)
  judge = model_judges.load(context.config, tmp_path / 'run')
  kinds = [verdict.kind for verdict in judge(CASES)]
  assert kinds == ['correct' if v > 0 else 'wrong' for v in values]
  # The same by the route, of the answers in responses; without one, wrong.
  context.config.reward.default = 'classic_rm'
  texts = [f'so\n#### {case[2]}' for case in CASES[:3]]
  found = submitted(context, [*texts, 'none', '<think>#### 27/36'])
  assert [v.kind for v in found] == [*kinds[:3], 'wrong', 'wrong']


def test_a_model_that_is_not_there_is_an_error(tmp_path):
  context = small_run.make_context(tmp_path, **JUDGES)
  context.config.reward.default = 'classic_rm'
  [verdict] = submitted(context, ['#### 3/4'])
  assert verdict.kind == 'error' and 'is no model' in verdict.reason


def test_a_judgement_hangs_on_its_case_alone(tmp_path):
  context = small_run.make_context(tmp_path, **JUDGES)
  params = weights.init_params(context.layout, 0)
  asked = []

  def judge(cases):
    made = model_judges.by_reasoning(
      context.config, context.shape, params, context.task.tokenizer
    )
    write = made.args[0]

    def kept(asks):
      for ask, written in write(asks):
        asked.append((ask.question, ask.sample, written.text))
        yield ask, written

    return judgements.by_writer(kept, *made.args[1:], cases)

  verdicts = judge(CASES)
  # Random weights write no judgement: each was asked for twice.
  assert {v.reason.partition(':')[0] for v in verdicts} == {'unparsable'}
  together, asked = sorted(asked), []
  for case in reversed(CASES):
    judge([case])
  assert sorted(asked) == together and len(together) == 2 * len(CASES)
  long = ('q' * 64, '3/4', '3/4')
  assert judge([long])[0].kind == 'error'


def test_many_threads_share_batches_and_each_gets_its_own_verdict():
  batches, gate = [], threading.Event()

  def judge(cases):
    gate.wait()
    batches.append(len(cases))
    return [Verdict('correct', reason=case[2]) for case in cases]

  ask = reward_model.asked_by_many(judge, 4)
  with concurrent.futures.ThreadPoolExecutor(16) as threads:
    asked = [threads.submit(ask, ('q', 'r', str(i))) for i in range(16)]
    gate.set()
    assert [f.result().reason for f in asked] == [str(i) for i in range(16)]
  assert sum(batches) == 16 and max(batches) <= 4


def test_every_thread_meets_the_error_of_its_batch():
  def judge(cases):
    raise OSError('no device')

  ask = reward_model.asked_by_many(judge, 4)
  with concurrent.futures.ThreadPoolExecutor(8) as threads:
    for future in [threads.submit(ask, CASES[0]) for _ in range(8)]:
      with pytest.raises(OSError, match='no device'):
        future.result()


def test_a_service_judges_for_a_trainer(tmp_path, monkeypatch):
  def judge(case):
    return Verdict('correct' if case == CASES[0] else 'wrong')

  made = service.Service(
    judge, 'secret', 1, 8, parse_request=serve_reward._parse
  )
  context = small_run.make_context(tmp_path)
  context.config.reward.default = 'cot_rm'
  with serving(made.app) as port:
    url = f'http://127.0.0.1:{port}'
    context.config.reward_model.cot_services = (url,)
    monkeypatch.setenv('K15_REWARD_TOKEN', 'secret')
    found = submitted(context, ['#### 27/36', '#### 6/8'])
  assert [v.kind for v in found] == ['correct', 'wrong']


@pytest.mark.parametrize('body', [b'', b'[]', b'{}', b'{"question": 1}'])
def test_what_is_no_case_is_refused(body):
  with pytest.raises(ValueError, match='not a request'):
    reward_model.from_request(body)


def test_an_openai_compatible_server_judges(tmp_path):
  asked = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      body = json.loads(self.rfile.read(int(self.headers['content-length'])))
      asked.append(body)
      is_right = '"27/36"' in body['messages'][0]['content']
      # Reasoning apart from the content, as servers give it.
      message = dict(
        content=json.dumps(dict(correct=is_right)), reasoning_content='so'
      )
      choices = [dict(finish_reason='stop', message=message)]
      text = json.dumps(dict(choices=choices)).encode()
      self.send_response(200)
      self.end_headers()
      self.wfile.write(text)

    def log_message(self, *args):
      pass

  httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  threading.Thread(target=httpd.serve_forever).start()
  context = small_run.make_context(tmp_path)
  context.config.reward.default = 'cot_rm'
  context.config.reward_model.update(
    cot_server=f'http://127.0.0.1:{httpd.server_port}/v1',
    cot_server_model='judge',
  )
  try:
    found = submitted(context, ['#### 27/36', '#### 6/8'])
  finally:
    httpd.shutdown()
    httpd.server_close()
  assert [v.kind for v in found] == ['correct', 'wrong']
  assert {body['model'] for body in asked} == {'judge'}
  content = asked[0]['messages'][0]['content']
  assert content.startswith('Below are three JSON strings')
