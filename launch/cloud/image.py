"""The container image: its recipe, and the folder it is built from."""

import os
import pathlib
import re
import shutil
import subprocess
from typing import Any

# What the image has of the project's folder.
FOLDERS = ('k15', 'experiments', 'launch')
_FILES = ('setup.py', 'pyproject.toml', 'third_party/constraints.txt')
# The stages of launch/Dockerfile that clouds need: their devices are TPUs, and
# a builder may build all that a recipe has.
_STAGES = ('base', 'code', 'tpu')


def holds(path: str, root: pathlib.Path) -> bool:
  """Whether containers find this file or folder in their working directory.

  Args:
    path: as a config names it.
  """
  relative = pathlib.PurePosixPath(path)
  inside = bool(relative.parts) and relative.parts[0] in FOLDERS
  return inside and '..' not in relative.parts and (root / path).exists()


def commit(root: pathlib.Path) -> str:
  """Of the project's folder, with '-changed' if it has been since."""
  try:
    head = _git(root, 'rev-parse', '--short=12', 'HEAD')
    changed = _git(root, 'status', '--porcelain', '--untracked-files=no')
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'
  return f'{head}-changed' if changed else head


def name(project: str, location: str, tag: str) -> str:
  """Where the image is pushed to, if no other is named."""
  return f'{location}-docker.pkg.dev/{project}/k15/k15:{tag}'


def stage(root: pathlib.Path, folder: pathlib.Path, tag: str) -> pathlib.Path:
  """Makes the folder that `docker build` takes; returns its Dockerfile.

  Args:
    folder: emptied first.
    tag: commit, for the image's label.
  """
  shutil.rmtree(folder, ignore_errors=True)
  skipped = shutil.ignore_patterns('__pycache__', '*.pyc')
  for part in FOLDERS:
    shutil.copytree(root / part, folder / part, ignore=skipped)
  for part in _FILES:
    (folder / part).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / part, folder / part)
  dockerfile = folder / 'Dockerfile'
  dockerfile.write_text(recipe(root, tag))
  return dockerfile


def recipe(root: pathlib.Path, tag: str) -> str:
  """The text of the recipe for TPUs, labelled with the commit."""
  text = (root / 'launch' / 'Dockerfile').read_text()
  stages = re.split(r'^(?=FROM )', text, flags=re.MULTILINE)[1:]
  needed = [s for s in stages if s.split('\n')[0].split()[-1] in _STAGES]
  return ''.join(needed).replace('ARG COMMIT=unknown', f'ARG COMMIT={tag}')


def build(
  dockerfile: pathlib.Path, name: str, bucket: str, experiment: Any
) -> str:
  """Builds the image and pushes it; returns its name in the registry.

  XManager does it: by Docker where there is one, else by Cloud Build.

  Args:
    bucket: Cloud Build reads the folder from there.
  """
  from xmanager import xm
  from xmanager import xm_local

  os.environ.setdefault('GOOGLE_CLOUD_BUCKET_NAME', bucket)
  [executable] = experiment.package(
    [
      xm.dockerfile_container(
        xm_local.Vertex.Spec(push_image_tag=name),
        path=str(dockerfile.parent.resolve()),
        dockerfile=str(dockerfile.resolve()),
      )
    ]
  )
  return executable.image_path


def _git(root, *arguments):
  return subprocess.run(
    ['git', *arguments], cwd=root, check=True, capture_output=True, text=True
  ).stdout.strip()
