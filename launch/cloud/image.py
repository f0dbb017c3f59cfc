"""The container image: its recipe, and the folder it is built from."""

import os
import pathlib
import shutil
import subprocess
from typing import Any

# What the image has of the project's folder.
FOLDERS = ('k15', 'experiments', 'launch')
_FILES = ('setup.py', 'pyproject.toml', 'third_party/constraints.txt')
# uv obeys the overrides of pyproject.toml, and so leaves TensorFlow out; g++ is
# for programs that the sandbox judges.
_DOCKERFILE = """\
FROM python:3.12-slim-bookworm
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends g++ \\
 && rm -rf /var/lib/apt/lists/*
WORKDIR /k15
COPY setup.py pyproject.toml ./
COPY third_party/constraints.txt third_party/
RUN pip install --no-cache-dir --constraint third_party/constraints.txt uv \\
 && uv pip install --system --no-cache \\
      --constraint third_party/constraints.txt \\
      --requirements setup.py --extra tpu --extra gguf --extra parquet \\
      --extra sandbox
COPY k15 k15
COPY experiments experiments
COPY launch launch
RUN useradd --uid 1000 --create-home k15
USER 1000
ENV PYTHONUNBUFFERED=1
LABEL k15.commit="{commit}"
ENTRYPOINT ["python", "-m"]
"""


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
  dockerfile.write_text(_DOCKERFILE.format(commit=tag))
  return dockerfile


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
