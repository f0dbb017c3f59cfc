"""Reinforcement learning, one iteration after the other: Kimi k1.5, 2.3, 2.6.

An iteration is a rollout phase and a training phase.  Its first policy,
pi_theta_i, samples the responses and is the reference of all its updates.
Everything that outlives an iteration is in `Stage` and in the checkpoint.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from k15 import checkpoint
from k15 import config_routes
from k15 import context as context_lib
from k15 import evaluate
from k15 import handover
from k15 import hosts
from k15 import logs
from k15 import low_precision
from k15 import offload
from k15 import optimizer as optimizer_lib
from k15 import problem_sampler
from k15 import replay
from k15 import rl_metrics
from k15 import rl_updates
from k15 import update
from k15.context import Context
from k15.data_types import TrainState
from k15.rewards import scoring
from k15.rollout import partial
from k15.rollout import timeline


@dataclasses.dataclass(eq=False)
class Stage:
  """What one iteration hands to the next, and the functions it calls.

  `kl_params` is GRPO's slow reference, None elsewhere; `problem_index` finds a
  training problem by its id; `timeline` has what the slots did lately;
  `handover` has the weights where they are decoded with, and `shelf` the
  optimizer's state while they are.  `name` is the stage's.
  """

  context: Context
  rollout: Any
  handover: handover.HandOver
  shelf: offload.Shelf
  sampler: problem_sampler.ProblemSampler
  buffer: replay.ReplayBuffer
  state: TrainState
  kl_params: Any
  step: Any
  logprobs: Any
  optimizer: Any
  timer: logs.Timer
  problem_index: dict[str, int]
  timeline: timeline.Timeline
  name: str


def train(
  context: Context,
  make_params: Callable[[], Any],
  name: str = 'rl',
) -> TrainState:
  """Runs the stage, or what is left of it; returns its last state.

  Args:
    context: of the run.
    make_params: the weights to start from, consumed; called by a first run.
    name: of the stage.

  Raises:
    context_lib.Interrupted: asked to stop; its state is saved.
    scoring.Failed: nothing can be judged; the state before is saved.
  """
  config = context.config
  checkpoints = checkpoint.Checkpoints(
    context.workdir / 'checkpoints' / name, config.saving.keep
  )
  start = checkpoints.latest_step() or 0
  if start:
    device, host = checkpoints.restore(start, _device_layout(context))
    stage = make_stage(context, device['train'], device['kl_params'], name)
    stage.sampler.set_state(host['sampler'])
    stage.buffer.set_state(host['buffer'])
  else:
    stage = make_stage(context, *first_state(context, make_params()), name)
  if start < config.rl.iterations:
    context.logger.truncate(name, start)
    with context.use_mesh():
      _iterations(stage, start, checkpoints)
  stage.rollout.close()
  stage.timeline.write()
  checkpoints.close()
  return stage.state


def _iterations(stage, start, checkpoints):
  context, config = stage.context, stage.context.config
  _hand_over(stage, start, label=start)
  with stage.context.use_rollout_mesh():
    stage.rollout.warm_up(longest_context(config.rollout))
  stage.timer.pop()
  total = config.rl.iterations
  with logs.Progress(total, start, stage.name) as progress:
    for iteration in range(start, total):
      values = _run_or_save(stage, iteration, checkpoints)
      done, stopping = iteration + 1, context.is_stopping()
      every = config.evaluation.every
      if every and done % every == 0:
        values |= _evaluate(stage, done)
      # Logged before it is saved: what is saved is never run, or logged, again.
      stage.context.logger.scalars(
        stage.name, iteration, values | stage.timer.pop()
      )
      due = done % config.saving.every_iterations == 0 or done == total
      if due or stopping:
        with stage.timer('checkpoint'):  # Shown with the next iteration.
          state = _host_state(stage.buffer, stage.sampler.get_state())
          checkpoints.save(done, _device_state(stage), state)
      progress.update(
        reward=values.get('rl/reward', float('nan')),
        length=values['rl/length_mean'],
      )
      if stopping and done < total:
        raise context_lib.Interrupted(
          f'{stage.name}: saved after iteration {iteration}'
        )


def _run_or_save(stage, iteration, checkpoints):
  """The iteration's metrics; one that breaks off leaves the state before it."""
  # Groups never change: no token of theirs is copied for this.
  before = stage.buffer.copy(), stage.sampler.get_state()
  try:
    values = run_iteration(stage, iteration)
    if values is None:
      raise context_lib.Interrupted(
        f'{stage.name}: saved before iteration {iteration}'
      )
    return values
  except (context_lib.Interrupted, scoring.Failed):  # Before any update.
    state = _host_state(*before)
    checkpoints.save(iteration, _device_state(stage), state)
    raise


def run_iteration(stage: Stage, iteration: int) -> dict[str, float] | None:
  """One iteration; its metrics, or None if it was interrupted in its rollout.

  After an interruption the state is as before, but not the host's memory.

  Raises:
    scoring.Failed: nothing could be judged; the state is as before.
  """
  config = stage.context.config
  buffer, timer, scorer = stage.buffer, stage.timer, stage.context.scorer
  _rest_optimizer(stage)
  _hand_over(stage, iteration, label=iteration)
  expired = buffer.expire(iteration, config.rl.max_group_age)
  drawn = stage.sampler.draw(config.rl.problems_per_iteration, iteration)
  problems = [stage.context.task.train[i] for i in drawn]
  buffer.open(problems, iteration, config.rl.group_size)
  scorer.pop_numbers()  # Of an evaluation.
  with timer('rollout'):
    sampled, verdicts = _rollout(stage, expired)
  _wake_optimizer(stage)
  if sampled is None:
    return None
  buffer.update(sampled)
  with timer('reward'):
    _score(stage, verdicts, iteration)
  groups = buffer.pop_complete()
  values = rl_metrics.of_rollout(sampled, expired, stage.rollout.pop_stats())
  judged = scorer.pop_numbers()
  values |= rl_metrics.of_verdicts(judged, timer.seconds('reward'))
  if groups:
    _record_success(stage, groups)
    values |= rl_metrics.of_groups(groups) | _train_on(stage, groups, iteration)
    values |= replay.staleness(groups, iteration)
    _log_trajectories(stage, groups, iteration)
    records = rl_metrics.group_records(groups)
    stage.context.logger.groups(stage.name, iteration, records)
  values['replay/open_groups'] = len(buffer.groups)
  values |= stage.handover.pop_metrics() | stage.shelf.pop_metrics()
  return values | stage.sampler.metrics()


def longest_context(rollout: Any) -> int:
  """Tokens of the longest context a rollout of this config prefills.

  Only a budget below the maximum length leaves responses to be resumed.
  """
  resumes = rollout.token_budget < rollout.max_length
  return rollout.max_prompt_length + resumes * rollout.max_length


def first_state(context: Context, params: Any) -> tuple[TrainState, Any]:
  """The state before the first iteration, and GRPO's slow reference or None.

  The state takes over the parameters.
  """
  config = context.config
  optimizer = context_lib.make_optimizer(context, config.optimizer.name)
  state = context_lib.init_state(context, optimizer, params)
  if not rl_updates.uses_slow_reference(config):
    return state, None
  return state, jax.tree.map(lambda x: x.copy(), state.params)


def make_stage(
  context: Context, state: TrainState, kl_params: Any, name: str = 'rl'
) -> Stage:
  """Everything iterations of the named stage need, from the given state."""
  config = context.config
  o = config.optimizer
  optimizer = context_lib.make_optimizer(context, o.name)
  layout = jax.tree.map(lambda x: x.sharding, state)
  step, logprobs = rl_updates.make_updates(context, optimizer, layout)
  slots = timeline.Timeline(context.workdir / 'timeline.jsonl')
  record = slots.record if hosts.is_first() else None
  return Stage(
    context=context,
    rollout=context_lib.make_rollout(context, name, record),
    handover=context_lib.make_handover(context),
    shelf=offload.Shelf(),
    sampler=problem_sampler.ProblemSampler(
      len(context.task.train),
      **config.problem_sampler,
      difficulty=[problem.difficulty for problem in context.task.train],
      seed=config.seed,
      stage=name,
    ),
    buffer=replay.ReplayBuffer(),
    state=state,
    kl_params=kl_params,
    step=step,
    logprobs=logprobs,
    # Fresh moments lie where the old ones did.
    optimizer=optimizer._replace(
      init=jax.jit(optimizer.init, out_shardings=layout.opt_state)
    ),
    timer=logs.Timer(),
    problem_index={p.id: i for i, p in enumerate(context.task.train)},
    timeline=slots,
    name=name,
  )


def _hand_over(stage, version, label):
  """The newest weights for the rollout, which calls them `label`."""
  params, dtype = stage.state.params, stage.context.config.rollout.dtype
  if dtype:  # Before it moves, and without a second copy of what moved.
    params = low_precision.cast(params, dtype)
  stage.handover.update(params, version)
  stage.rollout.set_params(stage.handover.params, version=label)


def _rest_optimizer(stage):
  """Frees the devices of the optimizer's state while they decode.

  One that is made anew before the next update is dropped, not kept.
  """
  o = stage.context.config.optimizer
  if not o.offload:
    return
  if o.reset_every_iteration:
    offload.drop(stage.state.opt_state)
  else:
    stage.shelf.put(stage.state.opt_state)
  stage.state = stage.state.replace(opt_state=None)


def _wake_optimizer(stage):
  """Brings it back, or makes the fresh one that would follow anyway."""
  o = stage.context.config.optimizer
  if o.offload and o.reset_every_iteration:
    stage.state = optimizer_lib.reset(stage.optimizer, stage.state)
  elif o.offload:
    stage.state = stage.state.replace(opt_state=stage.shelf.take())


def _rollout(stage, expired):
  """Grows every pending response and has judged, meanwhile, what is finished.

  Args:
    stage: of the iteration.
    expired: trajectories that are finished by their age.

  Returns:
    The trajectories, None if the run is to stop, and the verdicts to come, by
    (group_id, sample_index).
  """
  context, buffer = stage.context, stage.buffer
  config, tokenizer = context.config.rollout, context.task.tokenizer
  problems = {group.group_id: group.problem for group in buffer.groups}
  sampled, verdicts = [], {}

  def judge(trajectory):
    key = trajectory.group_id, trajectory.sample_index
    text = tokenizer.decode(trajectory.tokens)
    verdicts[key] = context.submit(problems[key[0]], text, trajectory.stop)

  for trajectory in expired:
    judge(trajectory)
  is_stopping = context.stop_poll()
  with context.use_rollout_mesh():
    for trajectory in partial.run(
      stage.rollout,
      buffer.pending(),
      context.task.encode_prompt,
      config.token_budget,
      config.max_length,
      config.temperature,
    ):
      sampled.append(trajectory)
      if is_stopping():
        return None, {}
      if trajectory.is_finished:
        judge(trajectory)
  return sampled, verdicts


def _evaluate(stage, version):
  """Held-out accuracy and length of the policy before iteration `version`."""
  config = stage.context.config
  _hand_over(stage, version, label=0)
  with stage.timer('evaluation'), stage.context.use_rollout_mesh():
    records = evaluate.evaluate(
      stage.rollout,
      stage.context.task,
      stage.context.submit,
      config.evaluation.samples,
      config.rollout.max_length,
      config.evaluation.temperature,
      config.evaluation.top_p,
    )
  stage.rollout.pop_stats()
  values = evaluate.summary(records)
  # short_rl has one of its own, and so no score to set beside that of `rl`.
  values['max_length'] = config.rollout.max_length
  return {f'evaluation/{k}': v for k, v in values.items()}


def _score(stage, verdicts, iteration):
  """Waits for verdicts; the buffer gets raw rewards and their parts.

  Raises:
    scoring.Failed: in all processes, if the first one could not judge.
  """
  finished = [t for _, t in stage.buffer.unscored()]
  where, failure = f'{stage.name}: iteration {iteration}', ''
  try:
    found = [verdicts[t.group_id, t.sample_index].result() for t in finished]
    scoring.refuse_errors(found, where)
  except scoring.Failed as error:
    failure = str(error)
  if hosts.any_of(bool(failure)):
    raise scoring.Failed(failure or f'{where}: the first process cannot judge')
  stage.buffer.set_rewards(finished, *_earned(found))


def _earned(verdicts):
  """Rewards and their parts, those of the first process in all of them."""
  table = np.full((len(verdicts), 1 + len(config_routes.PARTS)), np.nan)
  for row, verdict in zip(table, verdicts, strict=True):
    own = scoring.parts_of(verdict)
    row[0] = scoring.reward_of(verdict)
    # A part that the reward does not have is no number.
    row[1:] = [own.get(name, np.nan) for name in config_routes.PARTS]
  if verdicts:
    table = hosts.of_first(table)
  parts = [
    dict(zip(config_routes.PARTS, map(float, row[1:]), strict=True))
    for row in table
  ]
  return table[:, 0].tolist(), [
    {name: value for name, value in own.items() if not np.isnan(value)}
    for own in parts
  ]


def _record_success(stage, groups):
  """Success is accuracy, whatever else a response earned."""
  stage.sampler.record(
    [stage.problem_index[group.problem.id] for group in groups],
    [np.mean([t.accuracy for t in group.trajectories]) for group in groups],
  )


def _train_on(stage, groups, iteration):
  """All updates of an iteration; pi_theta_i is the reference of each."""
  config, timer = stage.context.config, stage.timer
  with timer('batch'):
    batches = rl_updates.make_batches(
      stage.context, groups, iteration, stage.name
    )
  with timer('ref_logprobs'):
    batches = _with_ref_logprobs(stage, batches)
  o = config.optimizer
  if batches and o.reset_every_iteration and not o.offload:
    stage.state = optimizer_lib.reset(stage.optimizer, stage.state)
  results, steps_before = [], _steps(stage)
  with timer('update'):
    for i, batch in enumerate(batches):
      is_first = i == 0
      stage.state, values = stage.step(stage.state, batch, is_first)
      values = {k: float(v) for k, v in jax.device_get(values).items()}
      update.refuse_non_finite(
        stage.context.workdir,
        stage.name,
        'iteration',
        iteration,
        values,
        batch,
      )
      results.append(values)
  _renew_reference(stage, steps_before)
  return rl_metrics.of_updates(results)


def _renew_reference(stage, steps_before):
  """Takes the newest policy as GRPO's slow reference whenever it is due.

  That is where the optimizer's steps have passed a multiple of the interval.
  The log-probabilities of the reference are those of whole iterations, so it
  waits for the end of one.
  """
  every = stage.context.config.loss.grpo_reference_interval
  is_due = _steps(stage) // every > steps_before // every
  if is_due and stage.kl_params is not None:
    stage.kl_params = jax.tree.map(lambda x: x.copy(), stage.state.params)


def _steps(stage):
  """Optimizer steps since the start of the stage."""
  return int(jax.device_get(stage.state.step))


def _with_ref_logprobs(stage, batches):
  """log pi_theta_i of every target, before any update.

  The first batch is trained on by pi_theta_i itself and needs none; a later
  epoch packs its responses anew, into batches of its own.
  """
  filled = []
  for i, batch in enumerate(map(stage.context.place_rows, batches)):
    if i > 0:
      logprobs = stage.logprobs(stage.state.params, batch)
      batch = batch.replace(ref_logprobs=logprobs)
    if stage.kl_params is not None:
      logprobs = stage.logprobs(stage.kl_params, batch)
      batch = batch.replace(kl_logprobs=logprobs)
    filled.append(batch)
  return jax.block_until_ready(filled)


def _device_layout(context):
  o = context.config.optimizer
  optimizer = context_lib.make_optimizer(context, o.name)
  layout = context_lib.state_layout(context, optimizer)
  has_slow = rl_updates.uses_slow_reference(context.config)
  kl_layout = layout.params if has_slow else None
  return dict(train=layout, kl_params=kl_layout)


def _device_state(stage):
  return dict(train=stage.state, kl_params=stage.kl_params)


def _host_state(buffer, sampler):
  """What a checkpoint holds beside arrays of devices."""
  return dict(buffer=buffer.get_state(), sampler=sampler)


def _log_trajectories(stage, groups, iteration):
  """Writes some responses to disk: those of the first groups, one each."""
  task = stage.context.task
  records = []
  for i, group in enumerate(groups[: stage.context.config.rl.log_trajectories]):
    t = group.trajectories[i % len(group.trajectories)]
    records.append(
      dict(
        problem_id=group.problem.id,
        prompt=group.problem.prompt,
        answer=group.problem.answer,
        domain=group.problem.domain,
        difficulty=group.problem.difficulty,
        response=task.tokenizer.decode(t.tokens),
        reward=t.reward,
        accuracy=t.accuracy,
        parts=t.parts,
        length=t.length,
        stop=t.stop.value,
        versions=[s.policy_version for s in t.segments],
        segments=[len(s.tokens) for s in t.segments],
      )
    )
  stage.context.logger.trajectories(stage.name, iteration, records)
