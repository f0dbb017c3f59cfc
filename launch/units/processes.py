"""Work units as processes of this machine, through XManager.

XManager has an experiment with a work unit for each of ours; what it starts is
`launch.work_unit`, so logs, records, restarts and the table are those of
`launch.local`.  Its database is in .cache/xmanager of the project's folder.
"""

import asyncio
import atexit
import contextlib
import io
import json
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from absl import logging
from xmanager import xm
from xmanager import xm_local
from xmanager.xm_local import execution

from launch import local
from launch.units import sweep
from launch.units import unit as unit_lib

_REPO = pathlib.Path(__file__).resolve().parents[2]


def keep_inside(root: pathlib.Path) -> None:
  """Lets XManager's database be in this folder, not in the home directory.

  Call it once flags are parsed and before an experiment is made.
  """
  folder = root / '.cache' / 'xmanager'
  folder.mkdir(parents=True, exist_ok=True)
  settings = dict(
    sql_connector='sqlite',
    sql_connection_settings=dict(
      backend='sqlite', db_name=str(folder / 'experiments.sqlite3')
    ),
  )
  path = folder / 'database.yaml'
  path.write_text(json.dumps(settings) + '\n')  # JSON is YAML.
  if flags.FLAGS.xm_db_yaml_config_path is None:
    flags.FLAGS.xm_db_yaml_config_path = str(path)


def run_all(
  config: str,
  units: Sequence[sweep.Unit],
  root: pathlib.Path,
  parallel: int,
  stop: unit_lib.Stop,
) -> list[dict[str, Any]]:
  """Runs what is missing of the units; `launch.local.run` takes it.

  Args:
    parallel: how many at a time.
    stop: asked to stop, it reaches the units, and no others begin.

  Returns:
    Records of the units, in their order.
  """
  # A unit that fails is told by its record, and not by a traceback.
  logging.set_verbosity(logging.FATAL)
  progress = local.Progress(sys.stdout, len(units), parallel)
  with contextlib.redirect_stdout(io.StringIO()):  # XManager talks.
    asyncio.run(_launch(config, units, root, parallel, stop, progress))
  progress.close()
  atexit.unregister(execution._terminate_local_jobs)  # All have ended.
  return [_record(root / unit.name, stop) for unit in units]


def _record(workdir, stop):
  """The unit's; a process that left without one has failed."""
  record = unit_lib.read(workdir)
  if record.get('state') in ('done', 'failed', 'stopped'):
    return record
  return record | dict(
    state='stopped' if stop.is_asked else 'failed', exit_code=None
  )


class _Group:
  """A process of XManager's and what it started, for `launch.units.unit.Stop`.

  XManager starts a shell, which passes no signals on, and has no other way to
  stop a local job.
  """

  def __init__(self, handle: Any):
    self._number = handle.process.pid  # A session of its own, so a group, too.

  def send_signal(self, number: int) -> None:
    """SIGTERM whatever the number: a second one ends the unit."""
    del number
    self._tell(signal.SIGTERM)

  async def wait(self) -> None:
    """Until all have ended: the shell may go first."""
    while self._tell(0):
      await asyncio.sleep(0.1)

  def _tell(self, number):
    try:
      os.killpg(self._number, number)
    except ProcessLookupError:
      return False
    return True


async def _launch(config, units, root, parallel, stop, progress):
  shares = local.shares_of_cores(parallel)
  turns = asyncio.Semaphore(parallel)

  async def run_one(experiment, executable, unit):
    workdir = root / unit.name
    if unit_lib.read(workdir).get('state') == 'done':
      progress.skip()
      return
    async with turns:
      if stop.is_asked:
        return
      share = shares.get()
      progress.begin(unit.name)
      await _run(experiment, executable, config, unit, workdir, share, stop)
      shares.put(share)
      last = local.last_line(workdir)
      progress.end(unit.name, _record(workdir, stop), last)

  experiment = xm_local.create_experiment(root.name)
  [executable] = experiment.package(
    [xm.binary(xm_local.Local.Spec(), sys.executable)]
  )
  try:
    async with experiment:
      await asyncio.gather(
        *(run_one(experiment, executable, unit) for unit in units)
      )
  except RuntimeError as error:
    if 'non-zero code' not in str(error):  # XManager's word for a failed unit.
      raise


async def _run(experiment, executable, config, unit, workdir, share, stop):
  cores = f'--cores={",".join(map(str, share))}' if share else '--cores='
  path = os.environ.get('PYTHONPATH', '')
  path = f'{path}{os.pathsep}{_REPO}' if path else str(_REPO)
  job = xm.Job(
    executable,
    # A unit's lines are in its log.txt; here those of all would mix.
    executor=xm_local.Local(experimental_stream_output=False),
    args=[
      '-m', 'launch.work_unit', f'--config={config}',
      f'--workdir={workdir}', cores, *sweep.arguments(unit),
    ],
    env_vars=dict(PYTHONPATH=path),
  )  # fmt: skip
  work_unit = await experiment.add(job)
  groups = [_Group(handle) for handle in work_unit._local_execution_handles]
  for group in groups:
    stop.reach(group)
    if stop.is_asked:
      group.send_signal(signal.SIGTERM)
  with contextlib.suppress(xm.ExperimentUnitError):  # Its record tells.
    await work_unit.wait_until_complete()
  for group in groups:
    await group.wait()
