"""The command: refusals, dry runs, what is written where."""

import os
import pathlib
import subprocess
import sys

import fake_units
import pytest
import yaml

pytest.importorskip('xmanager', reason="XManager comes with the extra 'launch'")

ROOT = pathlib.Path(__file__).resolve().parents[2]
POD = '--config=experiments/pod.py:qwen25_7b_32k'
PLACE = ('--project=p', '--location=us-east5', '--bucket=gs://b-1/rl')


def _run(*arguments, env=None):
  result = subprocess.run(
    [sys.executable, 'launch/xm.py', *arguments], cwd=ROOT, text=True,
    env=os.environ | (env or {}), capture_output=True,
  )  # fmt: skip
  return result.returncode, result.stdout, result.stderr.splitlines()


def test_a_dry_run_for_gke_without_jax(tmp_path):
  (tmp_path / 'jax.py').write_text('raise ImportError("jax")')
  root = tmp_path / 'out'
  code, out, _ = _run(
    POD, '--executor=gke', '--dry_run', '--topology=v5p:4x4x4', *PLACE,
    '--noplan', '--sandboxes=1', f'--root={root}', '--config.seed=7',
    env={'PYTHONPATH': str(tmp_path)},
  )  # fmt: skip
  assert code == 0
  [path] = root.glob('*.yaml')
  wall, job_set = yaml.safe_load_all(path.read_text())
  assert wall['kind'] == 'NetworkPolicy' and job_set['kind'] == 'JobSet'
  [first, *_] = job_set['spec']['replicatedJobs']
  [container] = first['template']['spec']['template']['spec']['containers']
  assert '--config.seed=7' in container['args']
  assert container['image'].startswith('us-east5-docker.pkg.dev/p/k15/k15:')
  assert (root / 'image' / 'Dockerfile').exists()
  assert 'seed = 7' in out
  assert 'workdir /gcs/b-1/rl/pod_qwen25_7b_32k/' in out
  assert out.endswith('nothing was sent\n')


def test_refusals_come_at_once_and_before_anything_is_written(tmp_path):
  code, out, err = _run(
    POD, '--executor=gke', '--topology=v5p:2x2x4', f'--root={tmp_path}/o',
    '--config.checkpoint=Qwen',
  )  # fmt: skip
  assert code == 2 and out == ''
  assert [line[:32] for line in err] == [
    'launch: --project is missing: th',
    'launch: --location is missing: a',
    'launch: --bucket is missing: gs:',
    'launch: mesh is data 1 * fsdp 64',
    'launch: rollout.mesh is (16, 1, ',
    'launch: nothing was sent',
  ]
  assert not (tmp_path / 'o').exists()


@pytest.mark.parametrize(
  'arguments, words',
  [
    (['--config.loss.tua=1'], "no key 'loss.tua'; the closest is loss.tau"),
    (['--sweep'], 'experiments/pod.py: there is no function sweep()'),
    (['--executor=slurm'], 'slurm'),
    (['--config.seed=x'], 'config.seed=x'),
  ],
)
def test_mistakes_are_one_sentence(arguments, words):
  code, _, err = _run(POD, '--executor=gke', *arguments)
  assert code == 2
  [line] = err
  assert line.startswith('launch: ') and words in line


def test_an_unknown_key_in_a_sweep_is_refused(tmp_path):
  text = fake_units.CONFIG.replace('seeds(3)', "over('loss.tua', [1.0])")
  (tmp_path / 'config.py').write_text(text)
  code, _, [line] = _run(f'--config={tmp_path}/config.py', '--sweep')
  assert code == 2 and "no key 'loss.tua'" in line


def test_a_plan_that_says_no_refuses(tmp_path):
  """A plan needs jax and libtpu; here a page of another name answers."""
  fake = tmp_path / 'fake'
  fake.mkdir()
  (fake / 'sitecustomize.py').write_text(
    'import subprocess\n'
    'subprocess.run = lambda command, **_: ('
    'subprocess.CompletedProcess(command, 1, "8 GiB over"))\n'
    'import importlib.util as u\n'
    'find = u.find_spec\n'
    'u.find_spec = lambda name: name in ("jax", "libtpu") or find(name)\n'
  )
  arguments = [
    POD, '--executor=vertex', '--dry_run', '--topology=v6e:8x8', *PLACE,
    '--image=i', f'--root={tmp_path}/o',
  ]  # fmt: skip
  code, out, err = _run(*arguments, env={'PYTHONPATH': str(fake)})
  assert code == 2
  assert 'plan of seed=0:\n8 GiB over' in out
  assert err[-1] == (
    'launch: the plan of seed=0 says no: --noplan sends nevertheless'
  )
  assert not (tmp_path / 'o').exists()
  code, out, _ = _run(*arguments, '--noplan')
  assert code == 0
  assert len(list((tmp_path / 'o').glob('*.json'))) == 1
