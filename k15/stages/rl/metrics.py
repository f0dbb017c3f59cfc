"""Metrics of an RL iteration, computed from what it sampled and learnt."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from k15.config import routes
from k15.data_types import Group, StopReason, Trajectory
from k15.equations import advantages
from k15.equations import correctness
from k15.runtime.context import Context

# Counts of an iteration's updates, of what was in their loss.
_OF_UPDATES = ('updates', 'tokens_trained', 'responses_trained')
_LEVELS = ('easy', 'medium', 'hard')


def of_rollout(
  sampled: list[Trajectory], expired: list[Trajectory], stats: dict[str, int]
) -> dict[str, float]:
  """Lengths and stop reasons of what an iteration sampled, or gave up.

  Args:
    sampled: what grew in it.
    expired: what was too old to be resumed.

  Returns:
    `rl/length_mean` and `rl/length_p95` are over finished responses, whole;
    NaN where nothing finished.
  """
  stopped = [*sampled, *expired]
  lengths = np.array([t.length for t in stopped if t.is_finished] or [np.nan])
  values = {
    f'rl/stop_{reason.value}': np.mean([t.stop is reason for t in stopped])
    for reason in StopReason
  }
  values |= {f'rollout/{name}': count for name, count in stats.items()}
  return values | {
    'rl/length_mean': lengths.mean(),
    'rl/length_p95': np.percentile(lengths, 95),
    'rl/responses_sampled': len(sampled),
  }


def of_verdicts(judged: dict[str, float], waited: float) -> dict[str, float]:
  """Verdicts by kind, errors by reason, and the time that rewards took.

  Args:
    judged: of `Scorer.pop_numbers`.
    waited: seconds the iteration stood still for verdicts.

  Returns:
    `time/judging_hidden` is the share of `time/judging_seconds`, in [0, 1],
    that ran beside the rollout; nothing judged is all hidden.
  """
  counts = {f'reward/{k}': n for k, n in judged.items() if k != 'seconds'}
  seconds = judged['seconds']
  hidden = 1 - min(waited / seconds, 1.0) if seconds > 0 else 1.0
  times = {'time/judging_seconds': seconds, 'time/judging_hidden': hidden}
  return counts | times


def of_groups(groups: list[Group]) -> dict[str, float]:
  """Raw rewards of what is trained on, whole groups or arrivals, and lengths.

  Rewards are whole, by kind of problem, and by part (`reward/accuracy`, before
  weights); `rl/accuracy` is the share of right responses.  Problems without a
  label of difficulty are in no level.  Groups with equal rewards teach nothing:
  `rl/all_wrong_groups` are those of them without a right response, and
  `rl/zero_variance_tokens` is the share of the responses' tokens that are in
  them, which the updates see unless `loss.keep_zero_variance_groups` is off.
  `rl/redundant_tokens` is the share of right responses' tokens that would not
  be there if all in a group were as short as its shortest right one.
  """
  trained = [t for g in groups for t in g.trajectories]
  is_right = np.array([correctness.is_right(t) for t in trained])
  lengths = np.array([t.length for t in trained])
  per_group = np.array(
    [np.mean([t.reward for t in g.trajectories]) for g in groups]
  )
  # Of arrivals, those equal so far: there are more.
  are_equal = np.array(
    [advantages.are_equal([[t.reward for t in g.known]])[0] for g in groups]
  )
  has_right = [any(map(correctness.is_right, g.known)) for g in groups]
  tokens = np.array([sum(t.length for t in g.trajectories) for g in groups])
  values = {
    'rl/reward': np.mean([t.reward for t in trained]),
    'rl/accuracy': is_right.mean(),
    'rl/zero_variance_groups': np.mean(are_equal),
    'rl/all_wrong_groups': np.mean(are_equal & ~np.array(has_right)),
    'rl/zero_variance_tokens': tokens @ are_equal / max(tokens.sum(), 1),
    'rl/groups': len(groups),
  }
  levels = np.array([_level(g.problem.difficulty) for g in groups])
  for name in _LEVELS:
    if (levels == name).any():
      values[f'rl/reward_{name}'] = per_group[levels == name].mean()
  domains = np.array([g.problem.domain for g in groups])
  for name in sorted(set(domains) - {''}):
    values[f'rl/reward_domain_{name}'] = per_group[domains == name].mean()
  for name, mask in (('correct', is_right), ('wrong', ~is_right)):
    if mask.any():
      values[f'rl/length_{name}'] = lengths[mask].mean()
      for q in (90, 95):
        values[f'rl/length_p{q}_{name}'] = np.percentile(lengths[mask], q)
  return values | _redundant(groups) | _of_parts(trained)


def _redundant(groups):
  """What right responses have beyond the shortest one of their group."""
  right = [
    [t.length for t in g.trajectories if correctness.is_right(t)]
    for g in groups
  ]
  right = [lengths for lengths in right if lengths]
  if not right:
    return {}
  needed = sum(min(lengths) * len(lengths) for lengths in right)
  return {'rl/redundant_tokens': 1 - needed / sum(map(sum, right))}


def _of_parts(trajectories):
  """Means by part, each over the responses whose reward has it."""
  names = sorted({name for t in trajectories for name in t.parts})
  return _beside_truth(trajectories) | {
    f'reward/{name}': np.mean(
      [t.parts[name] for t in trajectories if name in t.parts]
    )
    for name in names
  }


def _beside_truth(trajectories):
  """How often a reward model was wrong, by the rule that judges beside it.

  Shares of the responses that both have judged: taken for right and wrong, and
  the other way round.  A policy that learns to deceive the model shows as false
  positives that rise.
  """
  both = [t for t in trajectories if routes.TRUTH in t.parts]
  if not both:
    return {}
  says = np.array([correctness.is_right(t) for t in both])
  is_right = np.array([t.parts[routes.TRUTH] >= 0.5 for t in both])
  return {
    'reward/false_positive': np.mean(says & ~is_right),
    'reward/false_negative': np.mean(~says & is_right),
  }


def of_ages(groups: list[Group], iteration: int) -> dict[str, float]:
  """Ages, in iterations, of groups and of the policies behind their tokens.

  A token's age is iteration - policy_version; in training it says how far
  off the reference policy the data is.
  """
  trajectories = [t for group in groups for t in group.trajectories]
  segments = [segment for t in trajectories for segment in t.segments]
  ages = np.array([iteration - s.policy_version for s in segments], np.int64)
  counts = np.array([len(s.tokens) for s in segments], np.int64)
  total = max(counts.sum(), 1)
  group_ages = [iteration - group.opened_at for group in groups]
  return {
    'replay/token_age_mean': float(ages @ counts / total),
    'replay/token_age_max': float(ages.max(initial=0)),
    'replay/old_token_fraction': float(counts[ages > 0].sum() / total),
    'replay/group_age_max': float(max(group_ages, default=0)),
  }


def group_records(groups: list[Group]) -> list[dict[str, Any]]:
  """What was trained on, one record per group: the lines of groups.jsonl.

  Lists are in order of sample_index, and of arrivals a group has a record for
  each iteration in which some came; a (group_id, sample_index) is trained on in
  one iteration and in no other.  `truths` is what a rule says beside a
  reward model, where one does.  `crc32` is that of the tokens as
  little-endian int32: equal in runs that sampled the same.
  """
  return [
    dict(
      group_id=group.group_id,
      problem_id=group.problem.id,
      opened_at=group.opened_at,
      samples=[t.sample_index for t in group.trajectories],
      rewards=[t.reward for t in group.trajectories],
      accuracies=[t.accuracy for t in group.trajectories],
      lengths=[t.length for t in group.trajectories],
      stops=[t.stop.value for t in group.trajectories],
      crc32=[zlib.crc32(t.tokens.astype('<i4')) for t in group.trajectories],
      **_truths(group),
    )
    for group in groups
  ]


def _truths(group):
  found = [t.parts.get(routes.TRUTH) for t in group.trajectories]
  return {} if found == [None] * len(found) else dict(truths=found)


def trajectory_records(
  groups: list[Group], decode: Callable[[np.ndarray], str]
) -> list[dict[str, Any]]:
  """A response of each group, whole: the lines of trajectories.jsonl.

  Of the i-th group it is the i-th response, so that not all are a first one.
  """
  chosen = [
    (group.problem, group.trajectories[i % len(group.trajectories)])
    for i, group in enumerate(groups)
  ]
  return [
    dict(
      problem_id=problem.id,
      prompt=problem.prompt,
      answer=problem.answer,
      domain=problem.domain,
      difficulty=problem.difficulty,
      response=decode(t.tokens),
      reward=t.reward,
      accuracy=t.accuracy,
      parts=t.parts,
      length=t.length,
      stop=t.stop.value,
      versions=[s.policy_version for s in t.segments],
      segments=[len(s.tokens) for s in t.segments],
      **(dict(images=problem.digests) if problem.images else {}),
    )
    for problem, t in chosen
  ]


def of_updates(results: list[dict[str, Any]]) -> dict[str, float]:
  """Joins the metrics of an iteration's updates.

  The log-ratio l_j is that of a whole response at the time it is trained on:
  0 in the first update, what the earlier updates have done in the others.  How
  far they have gone is what the last update meets: `rl/last_log_ratio_rms`, in
  nats a response, and `rl/last_token_log_ratio_rms`, in nats a token.
  Without any update only that is said.
  """
  if not results:
    return {f'rl/{name}': 0 for name in _OF_UPDATES}
  total = {name: sum(result[name] for result in results) for name in results[0]}
  sequences = max(total['sequences'], 1)
  # Masks of the correction apply to the loss alone.
  tokens = max(total.get('correction_tokens', total['tokens']), 1)
  last = results[-1]
  values = {
    'rl/loss': total['loss'] / len(results),
    'rl/entropy': total['entropy_sum'] / tokens,
    'rl/log_ratio_mean': total['log_ratio_sum'] / sequences,
    'rl/log_ratio_rms': _rms(total, 'log_ratio_sq_sum', 'sequences'),
    'rl/log_ratio_max': max(r['log_ratio_abs_max'] for r in results),
    'rl/last_log_ratio_rms': _rms(last, 'log_ratio_sq_sum', 'sequences'),
    'rl/last_token_log_ratio_rms': _rms(
      last, 'token_log_ratio_sq_sum', 'token_log_ratios'
    ),
    'rl/grad_norm': total['grad_norm'] / len(results),
    'rl/learning_rate': last['learning_rate'],
    'rl/updates': len(results),
    'rl/tokens_trained': total['tokens'],
    'rl/responses_trained': total['sequences'],
  }
  if 'kl_sum' in total:
    values['rl/kl'] = total['kl_sum'] / sequences
  if 'cut_tokens' in total:  # Of a clip that is about tokens.
    values['rl/cut'] = total['cut_tokens'] / tokens
  return values | _of_drift(total, results)


def _rms(sums, squares, count):
  return (sums[squares] / max(sums[count], 1)) ** 0.5


def _of_drift(total, results):
  """How far rollout and training were apart, and what became of it.

  Over tokens that the current version sampled; it needs no forward of its
  own, for pi_theta_i's log-probabilities are there in every update: from the
  forward of the first, and filled in before the others.  Weights and the
  share that was cut are over all tokens in the loss, those of older versions
  too.
  """
  values = {}
  if total.get('drift_tokens'):
    values |= {
      'drift/logprob_mean': total['drift_abs_sum'] / total['drift_tokens'],
      'drift/logprob_max': max(r['drift_abs_max'] for r in results),
      'drift/kl': total['drift_kl_sum'] / total['drift_tokens'],
    }
  if total.get('correction_tokens'):
    tokens = total['correction_tokens']
    values |= {
      'drift/correction_weight': total['correction_weight_sum'] / tokens,
      'drift/correction_cut': total['correction_cut_sum'] / tokens,
    }
  return values


def _level(difficulty):
  """The third of [0, 1] a label lies in; '' without one."""
  return '' if difficulty is None else _LEVELS[min(2, int(difficulty * 3))]


def log_groups(
  context: Context, name: str, groups: list[Group], iteration: int
) -> None:
  """Numbers of all groups to disk, and a response of each of the first."""
  context.logger.groups(name, iteration, group_records(groups))
  shown = groups[: context.config.rl.log_trajectories]
  decode = context.task.tokenizer.decode
  context.logger.trajectories(
    name, iteration, trajectory_records(shown, decode)
  )
