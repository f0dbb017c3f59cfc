"""Directories as runs leave them, of a few numbers."""

import json

from k15 import files


def write(
  workdir,
  seed=0,
  rewards=(0.5,),
  lengths=(40.0,),
  right=None,
  config=None,
  iterations=None,
  stage='rl',
):
  """Writes a run; returns its directory.

  Args:
    workdir: made if missing.
    rewards, lengths: of the iterations of RL.
    right: verdicts of the held-out problems after `stage`; None if it is not
      finished.
    config: keys besides seed, stages and rl.iterations.
    iterations: planned; as many as there are rewards, if None.
    stage: the only one.
  """
  workdir.mkdir(parents=True)
  config = {'seed': seed, 'stages': [stage], **(config or {})}
  planned = len(rewards) if iterations is None else iterations
  config.setdefault('rl', {})['iterations'] = planned
  (workdir / 'config.json').write_text(json.dumps(config))
  steps = zip(rewards, lengths, strict=True)
  records = [
    {
      'stage': stage, 'step': i, 'time': 60.0 * i,
      'rl/reward': reward, 'rl/length_mean': length,
      'time/rollout_seconds': 2.0, 'time/update_seconds': 1.0,
      'time/judging_seconds': 9.0, 'time/evaluation_seconds': 9.0,
    }
    for i, (reward, length) in enumerate(steps)
  ]  # fmt: skip
  files.append_jsonl(workdir / 'metrics.jsonl', records)
  if right is not None:
    answers = [response(i, verdict) for i, verdict in enumerate(right)]
    files.append_jsonl(workdir / f'evaluation_{stage}.jsonl', answers)
    summary = {
      f'accuracy_after_{stage}': sum(right) / len(right),
      f'mean_tokens_after_{stage}': lengths[-1],
      'seconds': 120.0,
    }
    (workdir / 'summary.json').write_text(json.dumps(summary))
  return workdir


def response(number, verdict, length=10, text=''):
  """A record of an evaluation."""
  return {
    'problem_id': f'p{number}', 'prompt': f'{number}?', 'answer': '1',
    'response': f'so {int(verdict)}{text}', 'reward': float(verdict),
    'length': length, 'stop': 'eos',
  }  # fmt: skip
