"""Runs the work units of a config file through XManager: here, on Vertex, GKE.

    python launch/xm.py --config=FILE[:VARIANT] --sweep --executor=local
        [--parallel=2] [--root=runs/NAME] [--config.key=value ...]
    python launch/xm.py --config=FILE[:VARIANT] --sweep --executor=gke
        --topology=v5p:4x4x4 --project=... --location=us-east5
        --bucket=gs://NAME/FOLDER [--dry_run]

`local` is `launch.local` with an experiment of XManager's around it.  The
others first refuse what cannot run, all of it at once, and ask `launch.plan`
whether the programs fit.  With --dry_run they write what they would send into
--root, and the folder that the image is built from.  Without it they build the
image, unless --image names one, and send.  That was never tried, as there is
no cluster here: see `launch.cloud.gke` and `launch.cloud.vertex`.

It needs `pip install -e '.[launch]'`, and jax only to plan.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import pathlib
import sys

if not __package__:  # The path has this script's folder, not the project's.
  sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
from k15.config import extras

if not importlib.util.find_spec('xmanager'):
  sys.exit(extras.sentence('launch/xm.py', 'xmanager'))
if not importlib.metadata.version('xmanager').startswith('0.8.5'):
  # Some of its insides are used, by `launch.units.processes` and
  # `launch.cloud.vertex`.
  sys.exit(
    'launch/xm.py needs xmanager 0.8.5, and'
    f' {importlib.metadata.version("xmanager")} is installed: pip install'
    " 'xmanager==0.8.5.post1'"
  )

import yaml
from absl import app
from absl import flags
from absl import logging
from xmanager import xm_local

from k15.config import keys
from launch import local
from launch.cloud import checks
from launch.cloud import gke
from launch.cloud import image
from launch.cloud import kubernetes
from launch.cloud import plan_verdict
from launch.cloud import vertex
from launch.cloud import works as works_lib
from launch.units import processes
from launch.units import sweep

_REPO = pathlib.Path(__file__).resolve().parents[1]


class Refused(ValueError):
  """What the user asked for cannot be sent; the message says why."""


def define_flags() -> None:
  """Not at import: other commands have flags of the same names."""
  flags.DEFINE_string('config', None, 'FILE[:VARIANT]', required=True)
  flags.DEFINE_bool('sweep', False, 'All units of its sweep(), or the config.')
  flags.DEFINE_enum('executor', 'local', ['local', 'vertex', 'gke'], 'Where.')
  flags.DEFINE_string('root', '', 'Folder of workdirs, or of what is sent.')
  flags.DEFINE_integer('parallel', 1, 'Units at a time; executor local.')
  flags.DEFINE_bool('dry_run', False, 'Write what would be sent.')
  flags.DEFINE_bool('plan', True, 'Ask launch.plan, and refuse what is over.')
  flags.DEFINE_string('plan_checkpoint', '', 'Copy of the checkpoint, here.')
  kinds = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer}
  for field in dataclasses.fields(works_lib.Cloud):
    define = kinds.get(field.type, flags.DEFINE_string)
    define(field.name, field.default, field.metadata['text'])


def main(argv: list[str]) -> None:
  options = flags.FLAGS
  logging.set_verbosity(logging.WARNING)
  try:
    config = works_lib.below(options.config, _REPO)
    find = sweep.units if options.sweep else sweep.single
    units = find(options.config, sweep.parse(options.config, argv[1:]))
    root = local.default_root(config)
    if options.executor != 'local':
      root = root.with_name(f'{root.name}_{options.executor}')
    root = pathlib.Path(options.root or root)
    processes.keep_inside(_REPO)
    if options.executor == 'local':
      run_all, parallel = processes.run_all, options.parallel
      sys.exit(local.run(options.config, units, root, parallel, run_all))
    _to_cloud(options, config, units, root)
  except (sweep.SweepError, kubernetes.SchemaError, Refused, OSError) as error:
    print(f'launch: {error}', file=sys.stderr)
    sys.exit(2)


def _to_cloud(options, config, units, root):
  fields = dataclasses.fields(works_lib.Cloud)
  cloud = works_lib.Cloud(**{f.name: options[f.name].value for f in fields})
  settings = {
    unit.name: keys.leaves(sweep.load_config(options.config, unit.overrides))
    for unit in units
  }
  found = checks.refusals(cloud, options.executor, config, settings, _REPO)
  if found:
    raise Refused('\nlaunch: '.join([*found, 'nothing was sent']))
  tag = image.commit(_REPO)
  name = cloud.image or image.name(cloud.project, cloud.location, tag)
  cloud = dataclasses.replace(cloud, image=name)
  works = [
    works_lib.make_work(cloud, config, unit, settings[unit.name])
    for unit in units
  ]
  _show(works)
  if options.plan:
    _plan(options, works)
  dockerfile = image.stage(_REPO, root / 'image', tag)
  manifests = _write(options.executor, cloud, works, root)
  if options.dry_run:
    print(f'{dockerfile}: image {name}\nnothing was sent')
    return
  if not options.image:
    packages = xm_local.create_experiment(root.name)
    built = image.build(dockerfile, name, cloud.bucket_name, packages)
    cloud = dataclasses.replace(cloud, image=built)
    manifests = _write(options.executor, cloud, works, root)
  if options.executor == 'gke':
    became = kubernetes.submit(manifests)
  else:
    became = vertex.submit(cloud, works, root.name)
  for unit_name, state in became.items():
    print(f'{unit_name}  {state}')


def _show(works):
  for work in works:
    print(f'{work.name}  {work.unit.name}')
    for key, value in work.unit.overrides.items():
      print(f'  {key} = {value!r}')
    print(f'  workdir {work.workdir}')


def _plan(options, works):
  """Shows the verdicts; refuses what does not fit."""
  refused, checkpoint = [], options.plan_checkpoint
  if checkpoint:
    checkpoint = str(pathlib.Path(checkpoint).resolve())
  for found in plan_verdict.ask(works, options.topology, _REPO, checkpoint):
    more = f' and {len(found.names) - 1} more' if len(found.names) > 1 else ''
    print(f'\nplan of {found.names[0]}{more}:\n{found.text}', flush=True)
    if found.code:
      refused.append(found.names[0] + more)
  if refused:
    raise Refused(
      f'the plan of {"; ".join(refused)} says no: --noplan sends nevertheless'
    )


def _write(executor, cloud, works, root):
  """Writes and checks what is sent for each unit; returns it by unit."""
  manifests = {}
  for work in works:
    if executor == 'gke':
      group = gke.manifests(cloud, work)
      checked = [kubernetes.check(manifest) for manifest in group]
      against = ', '.join(dict.fromkeys(sum(checked, [])))
      text, path = (
        yaml.safe_dump_all(group, sort_keys=False),
        f'{work.name}.yaml',
      )
    else:
      group = [vertex.manifest(cloud, work)]
      against = 'google.cloud.aiplatform_v1.CustomJob'
      text, path = json.dumps(group[0], indent=2), f'{work.name}.json'
    manifests[work.unit.name] = group
    root.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text.rstrip() + '\n')
    print(f'{root / path}: checked against {against}')
  return manifests


def parse_flags(argv: list[str]) -> list[str]:
  """Flags of ours and of XManager's; what is left are overrides."""
  try:
    return flags.FLAGS(argv, known_only=True)
  except flags.Error as error:
    print(f'launch: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  define_flags()
  app.run(main, flags_parser=parse_flags)
