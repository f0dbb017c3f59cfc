"""The folder that the image is built from."""

import pathlib
import subprocess
import sys

import pytest

from launch.cloud import image

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_stage_is_whole(tmp_path):
  """Every COPY of the recipe finds its source, and the code starts there."""
  (tmp_path / 'image').mkdir()
  (tmp_path / 'image' / 'old').touch()
  dockerfile = image.stage(ROOT, tmp_path / 'image', 'abc')
  lines = dockerfile.read_text().splitlines()
  copied = [line.split()[1:-1] for line in lines if line.startswith('COPY')]
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
  installs = [part for part in text.split('&&') if 'pip install' in part]
  assert len(installs) == 2
  for install in installs:
    assert '--constraint third_party/constraints.txt' in install
  user = lines.index('USER 1000')
  assert all('RUN' not in line for line in lines[user:])
  assert 'LABEL k15.commit="abc"' in lines
  assert lines[-1] == 'ENTRYPOINT ["python", "-m"]'


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
