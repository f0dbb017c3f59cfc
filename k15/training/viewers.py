"""Where a run is looked at: TensorBoard, wandb, trackio, MLflow.

`metrics.jsonl` and `trajectories.jsonl` are the truth; a viewer is told the
same.  One is a class with four methods and a row of VIEWERS.  Stages count
steps of their own: what a stage logs is named after it, 'rl/reward' and
'rl/time/rollout_seconds', and TensorBoard has a run for each.

All but TensorBoard only append.  What a resumed run does once more, and the
same, they are not told again: see `Logger`.
"""

import dataclasses
import importlib
import importlib.util
import json
import os
import pathlib
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorboardX

from k15 import files
from k15.config import extras
from k15.config import keys

# In the workdir: by what name a viewer knows the run, and what it was told.
MEMORY = 'viewers.json'
_PARAMS_AT_ONCE = 100  # The most that MLflow takes in a request,
_PARAM_LENGTH = 6000  # and of a value, in characters.


@dataclasses.dataclass(frozen=True)
class Run:
  """What a viewer knows of a run before it is told anything.

  Attributes:
    workdir: of the run.
    project: among whose runs it is shown.
    name: by which it is shown; '': that of the workdir.
    config: all keys, as JSON holds them.
  """

  workdir: pathlib.Path
  project: str = 'k15'
  name: str = ''
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def shown_as(self) -> str:
    """Its name, never empty."""
    return self.name or self.workdir.absolute().name or 'run'


class TensorBoard:
  """Scalars in `tensorboard/<stage>/`; it shows no tables."""

  takes_back = True

  def __init__(self, run: Run):
    self._dir = run.workdir / 'tensorboard'
    self._writers: dict[str, tensorboardX.SummaryWriter] = {}

  def truncate(self, stage: str, step: int) -> None:
    if stage in self._writers:
      self._writers.pop(stage).close()
    self._open(stage, purge_step=step)

  def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    if stage not in self._writers:
      self._open(stage)
    for key, value in values.items():
      self._writers[stage].add_scalar(key, value, step)

  def table(
    self, stage: str, step: int, columns: Sequence[str], rows: Sequence[list]
  ) -> None:
    pass

  def close(self) -> None:
    while self._writers:
      self._writers.popitem()[1].close()

  def _open(self, stage, purge_step=None):
    self._writers[stage] = tensorboardX.SummaryWriter(
      str(self._dir / stage),
      purge_step=purge_step,
      flush_secs=10,
      # File names carry whole seconds: a quick restart must not overwrite.
      filename_suffix=f'.{time.time_ns()}',
    )


class Wandb:
  """Weights & Biases, in `wandb/` and, unless WANDB_MODE is offline, there.

  The id is kept, and a resumed run goes on in the same one.  Offline each start
  leaves a folder of that id, and the server joins them.
  """

  takes_back = False

  def __init__(self, run: Run):
    self._wandb = importlib.import_module('wandb')
    kept = remembered(run.workdir)
    name = kept.get('wandb') or secrets.token_hex(4)
    remember(run.workdir, wandb=name)
    self._run = self._wandb.init(
      project=run.project,
      name=run.shown_as,
      id=name,
      resume='allow',
      dir=str(run.workdir),
      config=dict(run.config),
      allow_val_change=True,  # A resumed run may change some keys.
      # What is printed is the terminal's, not the server's.
      settings=self._wandb.Settings(console='off'),
    )
    self._stages: set[str] = set()

  def truncate(self, stage: str, step: int) -> None:
    del step
    # Its own count, to which all that the stage logs is drawn: wandb's goes on
    # from stage to stage.
    if stage not in self._stages:
      self._stages.add(stage)
      self._run.define_metric(f'{stage}/step')
      self._run.define_metric(f'{stage}/*', step_metric=f'{stage}/step')

  def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    self.truncate(stage, step)
    self._run.log({f'{stage}/step': step, **of_stage(stage, values)})

  def table(
    self, stage: str, step: int, columns: Sequence[str], rows: Sequence[list]
  ) -> None:
    table = self._wandb.Table(
      columns=list(columns), data=list(rows), allow_mixed_types=True
    )
    self.scalars(stage, step, {'trajectories': table})

  def close(self) -> None:
    self._run.finish()


class Trackio:
  """Trackio, in `trackio/` unless TRACKIO_DIR, or a server of its, is named.

  It knows a run by its name alone: one that is kept, with an ending that no
  other run of the project has.
  """

  takes_back = False

  def __init__(self, run: Run):
    # It reads this when it is imported.
    os.environ.setdefault('TRACKIO_DIR', str(run.workdir / 'trackio'))
    self._trackio = importlib.import_module('trackio')
    kept = remembered(run.workdir)
    name = kept.get('trackio') or f'{run.shown_as}-{secrets.token_hex(3)}'
    remember(run.workdir, trackio=name)
    self._run = self._trackio.init(
      project=run.project,
      name=name,
      resume='allow',
      config=dict(run.config),
      embed=False,
      auto_log_cpu=False,
      auto_log_gpu=False,
    )

  def truncate(self, stage: str, step: int) -> None:
    pass

  def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    self._run.log(of_stage(stage, values), step=step)

  def table(
    self, stage: str, step: int, columns: Sequence[str], rows: Sequence[list]
  ) -> None:
    table = self._trackio.Table(columns=list(columns), data=list(rows))
    self._run.log({f'{stage}/trajectories': table}, step=step)

  def close(self) -> None:
    self._trackio.finish()


class MLflow:
  """MLflow, in `mlruns/` unless MLFLOW_TRACKING_URI names a server.

  The run's id is kept.  Parameters cannot change there: those of the config are
  as the run began, and `config.json` among its artifacts is as it is now.
  """

  takes_back = False

  def __init__(self, run: Run):
    place = os.environ.get('MLFLOW_TRACKING_URI', '')
    if not place:
      # Plain files need no database; MLflow 3 asks for this word first.
      os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
      place = (run.workdir.absolute() / 'mlruns').as_uri()
    mlflow = importlib.import_module('mlflow')
    self._entities = mlflow.entities
    self._client = mlflow.MlflowClient(place)
    kept = remembered(run.workdir).get('mlflow')
    self._id = kept or self._create(run)
    self._client.update_run(self._id, status='RUNNING')
    self._client.log_dict(self._id, dict(run.config), 'config.json')
    self._tables: dict[str, str] = {}

  def truncate(self, stage: str, step: int) -> None:
    pass

  def scalars(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    now, named = int(time.time() * 1000), of_stage(stage, values)
    make = self._entities.Metric
    metrics = [make(_name(k), v, now, step) for k, v in named.items()]
    self._client.log_batch(self._id, metrics=metrics)

  def table(
    self, stage: str, step: int, columns: Sequence[str], rows: Sequence[list]
  ) -> None:
    path = f'trajectories/{stage}/{step:06d}.json'
    # As its own `log_table` writes it, which needs pandas for that.
    table = dict(columns=list(columns), data=list(rows))
    self._client.log_text(self._id, json.dumps(table), path)
    # Its page shows those that this tag names, and a tag is short: the last.
    self._tables[stage] = path
    shown = [dict(path=p, type='table') for p in self._tables.values()]
    self._client.set_tag(self._id, 'mlflow.loggedArtifacts', json.dumps(shown))

  def close(self) -> None:
    self._client.set_terminated(self._id)

  def _create(self, run):
    found = self._client.get_experiment_by_name(run.project)
    experiment = (
      found.experiment_id
      if found
      else self._client.create_experiment(run.project)
    )
    made = self._client.create_run(experiment, run_name=run.shown_as)
    remember(run.workdir, mlflow=made.info.run_id)
    params = [
      self._entities.Param(key, str(value)[:_PARAM_LENGTH])
      for key, value in keys.leaves(run.config).items()
    ]
    for i in range(0, len(params), _PARAMS_AT_ONCE):
      some = params[i : i + _PARAMS_AT_ONCE]
      self._client.log_batch(made.info.run_id, params=some)
    return made.info.run_id


def _name(key):
  """A metric's name as MLflow takes it.

  Plain files have a folder at each '/': 'rl/reward' would be a file, and in
  'rl/reward/correct' a folder.  Of characters such as in 'pass@8' it refuses
  the whole record.
  """
  stage, _, rest = key.partition('/')
  return re.sub(r'[^\w./ :-]', '_', f'{stage}/{rest.replace("/", ".")}')


# By the names of `logging.to`, which are those of packages and extras, too.
VIEWERS = {
  'tensorboard': TensorBoard,
  'wandb': Wandb,
  'trackio': Trackio,
  'mlflow': MLflow,
}


def refuse_missing(names: Sequence[str]) -> None:
  """Asks for the packages of all viewers that are named, and imports none.

  Raises:
    ValueError: one is not installed; names its extra.
  """
  for name in names:
    if name == 'tensorboard':  # No extra: tensorboardX writes what it shows.
      continue
    found = importlib.util.find_spec(name)
    # A folder of that name, as these leave some, is found without an origin.
    if found is None or found.origin is None:
      raise ValueError(extras.sentence(f'logging.to with {name!r}', name))


def of_stage(stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
  """The values under names that no other stage has."""
  own = f'{stage}/'
  return {
    key if key.startswith(own) else own + key: value
    for key, value in values.items()
  }


def remembered(workdir: pathlib.Path) -> dict[str, Any]:
  """What `remember` has kept in a workdir; {} if nothing."""
  return files.read_json(workdir / MEMORY)


def remember(workdir: pathlib.Path, **values: Any) -> None:
  """Keeps values by name in a workdir, beside those that are there."""
  workdir.mkdir(parents=True, exist_ok=True)
  files.replace_json(workdir / MEMORY, remembered(workdir) | values)
