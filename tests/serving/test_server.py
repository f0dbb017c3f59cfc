"""A worker as a process of its own: started, killed, started again."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import types

import grpc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_checkpoint
import small_run
from absl import flags

from k15 import serve
from k15.checkpoints import models
from k15.rollout.requests import Request
from k15.runtime import context as context_lib
from k15.runtime import rollouts
from k15.runtime import weights
from k15.runtime import worker
from k15.serving import jetstream_adapter
from k15.serving import rollout_pb2 as pb
from k15.serving import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOTS, BUDGET = 4, 16


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('server')


@pytest.fixture(scope='module')
def config(folder):
  return small_run.make_config(folder)


@pytest.fixture(scope='module')
def params(config):
  layout = context_lib.make_layout(
    config, context_lib.make_tokenizer(config), jax.devices()[:1]
  )
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype),
    weights.param_layout(layout),
  )


@pytest.fixture(scope='module')
def workdir(folder, config, params):
  """Of a run whose stages have left models: RL's has the parameters."""
  tokenizer = context_lib.make_tokenizer(config)
  shape = context_lib.make_layout(config, tokenizer).shape
  zeros = jax.tree.map(jnp.zeros_like, params)
  for stage, leaves, step in (('rl', params, 12), ('sft', zeros, 4)):
    path = folder / 'run/models' / stage
    origin = models.Origin(stage, 3, step)
    models.save(path, shape, leaves, tokenizer, 32, origin, None)
  (folder / 'run/config.json').write_text('{"stages": ["sft", "rl"]}')
  return folder / 'run'


@pytest.fixture(scope='module')
def start(folder, config):
  """Starts worker processes; none is left at the end."""
  path = folder / 'experiment.py'
  path.write_text(
    'from experiments import base\n\n\n'
    'def get_config():\n'
    '  config = base.get_config()\n'
    f'  changes = {small_run.CHANGES}\n'
    '  for key, value in changes.items():\n'
    "    group, _, name = key.partition('__')\n"
    '    config[group][name] = value\n'
    '  return config\n'
  )
  environment = os.environ | {
    'PYTHONPATH': str(ROOT),
    'JAX_COMPILATION_CACHE_DIR': str(folder / 'programs'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  processes = []

  def start(*arguments):
    process = subprocess.Popen(
      [sys.executable, '-m', 'k15.serve', f'--config={path}'] + list(arguments),
      stdout=subprocess.PIPE,
      text=True,
      env=environment,
    )
    processes.append(process)
    line = process.stdout.readline()
    match = re.fullmatch(r'rollout worker on 127.0.0.1:(\d+), (.*)\n', line)
    assert match, line
    return process, int(match[1]), match[2]

  yield start
  for process in processes:
    process.kill()
    process.wait()
    process.stdout.close()


def requests():
  rng = np.random.default_rng(1)
  return [
    Request(
      group_id=g,
      sample_index=s,
      prompt=rng.integers(0, 200, 3 + g).astype(np.int32),
      response=np.zeros(0, np.int32),
      budget=BUDGET,
    )
    for g in range(12)
    for s in range(2)
  ]


def answers(completions):
  completions = list(completions)
  names = [(c.request.group_id, c.request.sample_index) for c in completions]
  assert len(set(names)) == len(names)
  return {n: c.tokens.tolist() for n, c in zip(names, completions, strict=True)}


def test_a_worker_that_is_killed_and_started_again(
  start, folder, params, workdir
):
  killed, port, has = start(f'--checkpoint={workdir}')
  assert has == f'{workdir}/models/rl, step 12'
  decode(port)
  context = small_run.make_context(
    folder, rollout__workers=(f'127.0.0.1:{port}',)
  )
  rollout = rollouts.make_rollout(context, 'rl')
  rollout.set_params(params, version=3)
  stream = rollout.generate(requests())
  some = [next(stream)]
  killed.send_signal(signal.SIGKILL)
  killed.wait()
  again, _, has = start(f'--port={port}')
  assert has == 'no weights yet'
  remote = answers([*some, *stream])
  stats = rollout.pop_stats()
  assert stats['updates'] == 2 and stats['resubmitted'] > 0
  rollout.close()
  local = rollouts.make_rollout(small_run.make_context(folder, 'local'), 'rl')
  local.set_params(params, version=3)
  assert remote == answers(local.generate(requests()))
  again.send_signal(signal.SIGTERM)
  assert again.wait() == 0
  assert again.stdout.read() == ''


def test_a_worker_of_a_directory_of_the_hub(start, tmp_path):
  """Shape and tokenizer are the checkpoint's: the config has another policy."""
  directory = small_checkpoint.write(tmp_path / 'Qwen2.5-tiny')
  worker, port, has = start(
    f'--checkpoint={directory}', '--http_port=0', '--http_without_token'
  )
  assert has == f'{directory}, step 0'
  line = worker.stdout.readline()
  match = re.fullmatch(r"'Qwen2.5-tiny' on http://127.0.0.1:(\d+)/v1\n", line)
  assert match, line
  messages = jetstream_adapter.jetstream_pb2
  content = messages.DecodeRequest.TextContent(text='caf\u00e9 \u6f22')
  text, ids = said(port, text_content=content, max_tokens=16)
  tokenizer = models.read_tokenizer(directory)
  assert text == tokenizer.decode(ids)
  # By OpenAI's API in the chat template of the checkpoint.
  messages = [dict(role='user', content='hi')]
  body = json.dumps(dict(messages=messages, max_tokens=2))
  client = http.client.HTTPConnection('127.0.0.1', int(match[1]), timeout=60)
  kind = {'Content-Type': 'application/json'}
  client.request('POST', '/v1/chat/completions', body, kind)
  answer = json.load(client.getresponse())
  client.close()
  prompt = tokenizer.encode_rendered(tokenizer.render(messages))
  assert answer['usage']['prompt_tokens'] == len(prompt)
  worker.send_signal(signal.SIGTERM)
  assert worker.wait() == 0


def test_what_is_no_model_is_refused_in_a_sentence(config, workdir, tmp_path):
  """Before anything is compiled, but for weights that do not fit."""
  sentences = {
    tmp_path / 'nowhere': 'and it does not exist',
    tmp_path: 'it has no config.json',
    workdir / 'models': 'a stage leaves one in models/<stage> of its workdir',
  }
  for path, sentence in sentences.items():
    with pytest.raises(ValueError, match=sentence):
      worker.make(config.copy_and_resolve_references(), '127.0.0.1', 0,
                      checkpoint=str(path))  # fmt: skip
  torn = tmp_path / 'torn'
  shutil.copytree(workdir / 'models/rl', torn)
  (torn / 'model.safetensors').write_bytes(b'torn')
  server = worker.make(config, '127.0.0.1', 0, checkpoint=str(torn))
  with pytest.raises(ValueError, match='model.safetensors is damaged'):
    server.prepare(str(torn))
  server.stop()


def said(port, **request):
  """Text and token ids of a Decode call."""
  channel = grpc.insecure_channel(f'127.0.0.1:{port}')
  stub = jetstream_adapter.jetstream_pb2_grpc.OrchestratorStub(channel)
  call = stub.Decode(jetstream_adapter.jetstream_pb2.DecodeRequest(**request))
  samples = [reply.stream_content.samples[0] for reply in call]
  ids = [token for sample in samples for token in sample.token_ids]
  return ''.join(sample.text for sample in samples), ids


def decode(port):
  """JetStream's own client, and ours, on one port."""
  channel = grpc.insecure_channel(f'127.0.0.1:{port}')
  messages = jetstream_adapter.jetstream_pb2
  stub = jetstream_adapter.jetstream_pb2_grpc.OrchestratorStub(channel)
  assert stub.HealthCheck(messages.HealthCheckRequest()).is_live
  request = messages.DecodeRequest(
    max_tokens=3,
    token_content=messages.DecodeRequest.TokenContent(token_ids=[5, 6]),
  )
  samples = [r.stream_content.samples[0] for r in stub.Decode(request)]
  assert 1 <= sum(len(sample.token_ids) for sample in samples) <= 3
  stats = wire.Stub(channel).Stats(pb.Nothing())
  assert stats.has_weights and stats.slots == SLOTS


def test_what_is_refused_at_the_start(config):
  with pytest.raises(ValueError, match="listen on '0.0.0.0', which other"):
    worker.make(config, '0.0.0.0', 0)
  server = worker.make(config, '127.0.0.1', 0)
  with pytest.raises(
    OSError, match=f'cannot listen on 127.0.0.1:{server.port}'
  ):
    worker.make(config, '127.0.0.1', server.port)
  server.stop()


def test_a_config_is_needed(monkeypatch, capsys):
  monkeypatch.setattr(serve.signal, 'signal', lambda number, handler: None)
  given = types.SimpleNamespace(config=None, checkpoint='', timeline='')
  monkeypatch.setattr(flags, 'FLAGS', given)
  with pytest.raises(SystemExit) as ended:
    serve.main([])
  assert ended.value.code == 2
  assert capsys.readouterr().err == 'k15: --config is needed\n'
