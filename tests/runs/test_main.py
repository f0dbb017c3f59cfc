"""The command itself: one small run, killed ones, a user's file, mistakes."""

import json
import pathlib
import signal
import time

import forked
import pytest
import thorough

from benchmarks.quality import public_data
from benchmarks.stress import witness
from k15 import files

ROOT = pathlib.Path(__file__).resolve().parents[2]
GSM8K = public_data.folder() / 'gsm8k'
FLAGS = [
  '--config.policy.num_layers=1',
  '--config.sft.optimizer=adam',
  '--config.sft.learning_rate=0.03',
  '--config.sft.steps=20',
  '--config.sft.log_every=1',
  '--config.rollout.max_prompt_length=160',
  '--config.rollout.max_length=128',
  '--config.rollout.token_budget=48',
  '--config.evaluation.samples=1',
  '--config.saving.every_iterations=1',
]
# What the figures of the report are drawn from.
CHARTED = [
  'rl/reward', 'rl/length_mean', 'rl/length_p95', 'rl/length_wrong',
  'rl/entropy', 'rl/zero_variance_groups', 'rl/stop_eos', 'rl/stop_budget',
  'rl/stop_max_length', 'rl/stop_repetition', 'rl/log_ratio_rms',
  'rl/grad_norm', 'replay/open_groups', 'time/rollout_seconds',
  'time/reward_seconds', 'time/ref_logprobs_seconds', 'time/update_seconds',
  'time/checkpoint_seconds',
]  # fmt: skip


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('main')


def _witnessed(workdir):
  return workdir.with_name(f'{workdir.name}.witness')


def _start(folder, workdir, *flags, draws=False):
  config = f'--config={ROOT / "experiments/arithmetic.py"}:smoke'
  return forked.start(
    ['k15.main', config, f'--workdir={workdir}', *flags],
    ROOT,
    folder / f'{workdir.name}.{time.time_ns()}',
    dict(K15_WITNESS=str(_witnessed(workdir)), JAX_PLATFORMS='cpu'),
    witness.HOOK,
    draws,
  )


def _finish(process):
  done = process.finish()
  return done.returncode, done.stdout, done.stderr


def _run(folder, workdir, *flags, draws=False):
  code, out, errors = _finish(_start(folder, workdir, *flags, draws=draws))
  assert code == 0, errors[-2000:]
  return out


@pytest.fixture(scope='session')
def smoke(folder):
  """Work folder of a finished run, and what it printed."""
  workdir = folder / 'smoke'
  return workdir, _run(folder, workdir, *FLAGS, draws=True)


def _results(workdir):
  """All a run leaves that has to be the same, whenever it was interrupted."""

  def timeless(record):
    return {
      k: v
      for k, v in record.items()
      if k not in ('time', 'seconds') and not k.startswith('time/')
    }

  names = ('metrics', 'trajectories', 'groups')
  names += ('evaluation_sft', 'evaluation_rl')
  results = {
    name: [timeless(r) for r in files.read_jsonl(workdir / f'{name}.jsonl')]
    for name in names
  }
  summary = json.loads((workdir / 'summary.json').read_text())
  return results | dict(summary=timeless(summary))


def test_summary_and_last_lines(smoke):
  workdir, out = smoke
  summary = json.loads((workdir / 'summary.json').read_text())
  assert summary.keys() >= {
    'accuracy_after_sft', 'accuracy_after_rl', 'mean_tokens_after_sft',
    'mean_tokens_after_rl', 'held_out_problems', 'seed', 'seconds',
  }  # fmt: skip
  assert summary['held_out_problems'] == 16
  assert f'after rl: accuracy {summary["accuracy_after_rl"]:.3f}' in out
  assert out.endswith(f'report: {workdir / "report.html"}\n')
  assert (workdir / 'learning_curve.png').exists()


def test_the_figures_find_their_numbers(smoke):
  records = files.read_jsonl(smoke[0] / 'metrics.jsonl')
  keys = {key for r in records if r['stage'] == 'rl' for key in r}
  assert not set(CHARTED) - keys
  sft = {key for r in records if r['stage'] == 'sft' for key in r}
  assert sft >= {'sft/loss', 'sft/token_accuracy', 'sft/examples'}
  page = (smoke[0] / 'report.html').read_text()
  for title in ('Loss', 'Reward', 'Response length', 'Entropy'):
    assert f'{title}<' in page, title


def test_each_response_is_trained_on_once(smoke):
  groups = files.read_jsonl(smoke[0] / 'groups.jsonl')
  names = [(g['group_id'], s) for g in groups for s in g['samples']]
  assert names and len(set(names)) == len(names)
  records = files.read_jsonl(smoke[0] / 'metrics.jsonl')
  trained = sum(r.get('rl/groups', 0) for r in records)
  assert trained == len(groups)


def test_a_finished_run_does_nothing_more(folder, smoke):
  workdir, _ = smoke
  before = _results(workdir)
  _run(folder, workdir, *FLAGS)
  assert _results(workdir) == before


@pytest.mark.parametrize(
  'whens', thorough.after([['rollout'], ['sft', 'rollout', 'save']]), ids=len
)
def test_killed_runs_end_the_same(folder, smoke, whens):
  workdir = folder / f'killed-{len(whens)}'

  def steps(stage):
    records = files.read_jsonl(workdir / 'metrics.jsonl')
    return sum(r['stage'] == stage for r in records)

  def calls(iteration):
    """Whether the journal has some of an iteration."""
    part = workdir.glob(f'journal/rl/{iteration:08d}-*.log')
    return sum(path.stat().st_size for path in part) > 2000

  # Mid-warm-up, in the midst of an iteration's responses, and while one is
  # being saved.
  conditions = dict(
    sft=lambda: steps('sft') > 8,
    rollout=lambda: calls(1),
    save=lambda: any(workdir.glob('checkpoints/rl/*tmp*')),
  )
  for when in whens:
    condition = conditions[when]
    process = _start(folder, workdir, *FLAGS)
    while process.poll() is None and not condition():
      time.sleep(0.002)
    process.kill()
    _finish(process)
  _run(folder, workdir, *FLAGS)
  assert _results(workdir) == _results(smoke[0])
  found = witness.account(_witnessed(workdir))
  assert found.losses and max(loss.calls for loss in found.losses) <= 1
  # Without kills each token is drawn once.
  lost = sum(loss.tokens for loss in found.losses)
  undisturbed = witness.account(_witnessed(smoke[0]))
  assert found.drawn - lost == undisturbed.drawn and not undisturbed.losses
  assert not list(workdir.glob('journal/rl/*'))  # All of it is superfluous.


@pytest.mark.parametrize(
  'stops',
  thorough.after(
    [
      [(signal.SIGTERM, 'rl')],
      [(signal.SIGTERM, 'sft'), (signal.SIGINT, 'rl')],
    ]
  ),
  ids=len,
)
def test_a_stopped_run_saves_says_so_and_ends_the_same(folder, smoke, stops):
  workdir = folder / f'stopped-{len(stops)}'
  for number, stage in stops:
    process = _start(folder, workdir, *FLAGS)
    while process.poll() is None and not any(
      r['stage'] == stage for r in files.read_jsonl(workdir / 'metrics.jsonl')
    ):
      time.sleep(0.002)
    process.send_signal(number)
    code, out, errors = _finish(process)
    assert code == 75, errors[-2000:]
    assert 'the same command goes on from here' in out
    assert 'Traceback' not in errors
  _run(folder, workdir, *FLAGS)
  assert _results(workdir) == _results(smoke[0])


@thorough.MARK
@pytest.mark.skipif(not GSM8K.is_dir(), reason=f'no GSM8K in {GSM8K}')
def test_gsm8k_end_to_end(folder, smoke):
  lines = [
    line
    for line in (GSM8K / 'train.jsonl').read_text().splitlines()
    if len(json.loads(line)['question']) < 150
  ]
  path = folder / 'gsm8k.jsonl'
  path.write_text('\n'.join(lines[:100]))
  _run(
    folder,
    folder / 'gsm8k',
    *FLAGS,
    '--config.task.name=file',
    f'--config.task.train_path={path}',
    '--config.task.prompt_field=question',
    '--config.task.response_field=answer',
  )
  summary = json.loads((folder / 'gsm8k/summary.json').read_text())
  assert summary['held_out_problems'] == 16
  page = (folder / 'gsm8k/report.html').read_text()
  assert 'Response length' in page


def _refusal(folder, workdir, *flags):
  code, out, errors = _finish(_start(folder, workdir, *flags))
  assert code == 2, errors[-2000:]
  assert 'Traceback' not in errors
  sentence = errors.strip().splitlines()
  assert len(sentence) == 1 and sentence[0].startswith('k15: '), errors
  assert not list((folder / 'refused').glob('*/config.json'))
  return sentence[0]


def test_mistakes_are_one_sentence(folder, tmp_path):
  """One of each border: flags, checks, data; their tests have the others."""
  good = '{"prompt": "1+1", "answer": "2", "response": "#### 2"}\n'
  bad = tmp_path / 'bad.jsonl'
  bad.write_text(good + '{"prompt": 1}\n')
  expected = {
    ('--config.rl.iterations=many',): 'expected a whole number',
    ('--config.rl.updates_per_iteration=9',): '9, above',
    (
      '--config.task.name=file', f'--config.task.train_path={bad}'
    ): f'{bad}, line 2',
  }  # fmt: skip
  for flags, part in expected.items():
    assert part in _refusal(folder, folder / 'refused/run', *flags)


def test_what_never_began_binds_no_later_run(folder, tmp_path):
  workdir, file = folder / 'mended', '--config.task.name=file'
  bad = tmp_path / 'bad.jsonl'
  bad.write_text('{')
  _refusal(folder, workdir, file, f'--config.task.train_path={bad}')
  assert not (workdir / 'config.json').exists()


def test_a_resumed_run_cannot_change_what_is_computed(folder, smoke):
  workdir, _ = smoke
  before = _results(workdir)
  sentence = _refusal(folder, workdir, *FLAGS, '--config.loss.tau=0.5')
  assert 'cannot change loss.tau: 0.1 -> 0.5' in sentence
  assert _results(workdir) == before
