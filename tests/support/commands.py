"""The commands that README, docs, experiments and the Makefile name.

`SHORT` says for each how the tests run it: by arguments of a short form, which
tests/rooms/test_commands.py runs, or by the name of a test that runs it anyway.
"""

import ast
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[2]
_START = re.compile(
  r'(\w+=\S+ )*(\S*/)?(python|make|tensorboard|pip|'
  r'k15(?= (--|[a-z]+ --|[a-z]+$))) '
)
_PUBLIC_DATA = 'tests/rooms/test_commands.py::test_benchmarks_on_public_data'
_TINY_ROWS = '--config.rollout.max_prompt_length=256'


def _main(config, *flags):
  return ('k15.main', f'--config=experiments/{config}', '--workdir=run', *flags)


# What is named -> arguments of `python -m`, in a folder that has what
# `test_commands.folder` writes, or the test that runs it.
SHORT = {
  'make run': 'tests/runs/test_main.py::test_summary_and_last_lines',
  'build': 'tests/rooms/test_wheel.py::test_it_has_what_runs_and_nothing_else',
  'make extras': 'tests/rooms/test_commands.py::test_targets_of_the_makefile',
  'make test': 'tests/rooms/test_commands.py::test_targets_of_the_makefile',
  'make test-launch': (
    'tests/launch/test_xm.py::test_a_dry_run_for_gke_without_jax'
  ),
  'make test-peers': 'tests/serving/test_jetstream_driver.py',
  'make docs': (
    'tests/rooms/test_website.py::test_every_page_is_there_and_led_to'
  ),
  'make notebooks': 'tests/runs/test_notebooks.py::test_cells_run',
  'k15 --help': (
    'tests/test_cli.py::test_help_names_all_and_imports_neither_jax_nor_numpy'
  ),
  'k15 run': (
    'tests/rooms/test_wheel.py::test_it_trains_where_only_the_trainer_is_installed'
  ),
  'k15 doctor': (
    'tests/rooms/test_wheel.py::test_the_doctor_finds_that_runs_start_and_what_is_missing'
  ),
  'make plan': 'tests/launch/plan/test_plan.py',
  'make bench': (
    'benchmarks.speed.rl_step', '--peers', '--tokens', '8', '--repeats', '1',
    '--first-steps', '1', '--longest', '16', '--ops', 'generate', '--way',
    'k15=16 slots',
  ),
  'make bench-real': (
    'benchmarks.speed.real', '--tiny', '--repeats', '1', '--root', 'none',
    '--ops', 'generate', '--way', 'generate:k15=64 slots',
  ),
  'make bench-rollout': (
    'benchmarks.speed.rollout', '--parts', 'throughput', '--repeats', '1',
    '--slots', '4', '--tokens', '8', '--batches', '1',
  ),
  'make bench-rewards': _PUBLIC_DATA,
  'make bench-curation': _PUBLIC_DATA,
  'make bench-long': (
    'benchmarks.speed.long_context', '--lengths', '256', '--plain-up-to', '0',
  ),
  'make reproduce': (
    'tests/benchmarks/reproduce/test_reproduce.py::test_a_figure_its_data_and_its_row'
  ),
  'make worlds': (
    'tests/benchmarks/worlds/test_worlds.py::test_a_quick_diagram_leaves_its_files'
  ),
  'benchmarks.worlds': 'make worlds',
  'benchmarks.worlds.points': (
    'tests/benchmarks/worlds/test_points.py::test_the_command_writes_the_table_alone'
  ),
  'make bench-gpu': ('benchmarks.speed.gpu', '--tiny', '--repeats', '1'),
  'make chaos': (
    'tests/benchmarks/stress/test_chaos.py::test_a_short_run_ends_as_if_nothing_had_happened'
  ),
  'k15.data.picture_problems': ('k15.data.picture_problems', 'sheet.png'),
  'docs/map.py': (
    'tests/rooms/test_docs.py::test_the_map_is_that_of_these_rooms'
  ),
  'make kill': (
    'tests/benchmarks/stress/test_kill_resume.py::test_a_killed_run_ends_the_same'
  ),
  'k15.main arithmetic.py': (
    'tests/runs/test_main.py::test_summary_and_last_lines'
  ),
  'k15.main own_problems.py': _main(
    'own_problems.py:smoke', '--config.task.train_path=gsm8k/train.jsonl',
    '--config.task.held_out_path=gsm8k/test.jsonl',
    '--config.task.prompt_field=question',
    '--config.task.response_field=answer', '--config.sft.steps=2',
    '--config.rl.iterations=1',
  ),
  'k15.main math.py': _main(
    'math.py:smoke', '--config.checkpoint=Qwen2.5-7B-Instruct',
    '--config.task.train_path=math_train.json',
    '--config.task.held_out_path=math500.json', _TINY_ROWS,
    '--config.rl.iterations=1',
  ),
  'k15.main geometry.py': (
    'tests/runs/test_geometry.py::test_a_smoke_run_leaves_a_model_that_sees'
  ),
  'make smollm': _main(
    'smollm.py:smoke', '--config.checkpoint=Qwen2.5-7B-Instruct',
    "--config.stages=('sft','rl','evaluate')",
    "--config.evaluation.sets=('gsm8k:gsm8k/test.jsonl',)",
    '--config.evaluation.problems=4', '--config.rl.iterations=1',
  ),
  'k15.main smollm.py': 'make smollm',
  'make vision': (
    'tests/runs/test_killed_vision.py::test_a_run_killed_in_its_stages_ends_the_same'
  ),
  'k15.main recipe.py': (
    'tests/stages/test_long_cot.py::test_the_stages_of_a_recipe'
  ),
  'k15.main r1_zero.py': _main(
    'r1_zero.py:smoke', '--config.sft.steps=3', '--config.sft.warmup_steps=1',
    '--config.rl.iterations=1',
  ),
  'k15.main r1.py': (
    'tests/stages/test_rejection_sft.py::test_the_recipe_samples_judges_and_goes_on'
  ),
  'k15.main losses.py': _main(
    'losses.py:dapo_smoke', '--config.rl.iterations=1',
  ),
  'k15.main judged.py': _main(
    'judged.py:classic_rm_smoke', '--config.rl.iterations=1',
  ),
  'k15.main whole_recipe.py': (
    'tests/stages/pretraining/test_pretrain.py::test_generated_documents_through_all_three'
  ),
  'k15.curation.clean_documents': (
    'tests/curation/test_document_funnel.py::test_the_command'
  ),
  'k15.main code.py': _main(
    'code.py:smoke', '--config.sft.steps=3', '--config.rl.iterations=1',
  ),
  'k15.main curate.py': _main(
    'curate.py', '--config.task.train_path=mixed.jsonl',
    "--config.curation.evaluation_paths=('math500.jsonl',)",
  ),
  'k15.main long_cot.py': (
    'tests/stages/test_long_cot.py::test_the_stages_of_a_recipe'
  ),
  'k15.main sft.py': _main(
    'sft.py:smoke', '--config.checkpoint=Qwen2.5-7B-Instruct',
    "--config.sft.files=('general.jsonl',)",
    '--config.task.train_path=gsm8k/test.jsonl',
    '--config.task.prompt_field=question', _TINY_ROWS,
  ),
  'k15.main evaluate.py': _main(
    'evaluate.py:smoke', '--config.checkpoint=Qwen2.5-7B-Instruct',
    "--config.evaluation.sets=('math500:math500.json',"
    "'gsm8k:gsm8k/test.jsonl')", _TINY_ROWS,
  ),
  'k15.stages.contest_tests': (
    'tests/stages/test_contest_tests.py::test_the_command'
  ),
  **{
    f'k15.main long2short/{name}.py': 'tests/runs/test_long2short_stages.py'
    for name in ('dpo', 'merge', 'rl', 'shortest')
  },
  'k15.main ...': 'tests/runs/test_two_processes.py',
  'k15.report': (
    'tests/report/test_run_page.py::test_the_command_writes_the_page_of_one_run'
  ),
  'k15.report.evaluations': 'tests/report/test_evaluations.py',
  'k15.data.problems': (
    'k15.data.problems', 'gsm8k/train.jsonl', 'math_train.json', 'out.jsonl',
  ),
  'k15.serve': 'tests/serving/test_server.py',
  'k15.checkpoints.gguf.from_gguf': (
    'tests/checkpoints/gguf/test_from_gguf.py::test_the_command'
  ),
  'k15.rewards.service': 'tests/rewards/test_client.py',
  'k15.serve_reward': (
    'tests/runtime/test_model_judges.py::test_a_service_judges_for_a_trainer'
  ),
  'k15.rewards.code.datasets': (
    'k15.rewards.code.datasets', 'mbpp.jsonl', 'out.jsonl',
  ),
  'launch.plan': 'tests/launch/plan/test_plan.py',
  'launch.local': 'tests/launch/test_local.py',
  'launch/xm.py': 'tests/launch/test_xm.py::test_a_dry_run_for_gke_without_jax',
  'benchmarks.speed.rl_step': 'make bench',
  'benchmarks.stress.chaos': 'make chaos',
  'benchmarks.speed.real': 'make bench-real',
  'benchmarks.speed.schedule': (
    'benchmarks.speed.schedule', '--slots', '8', '--problems', '4', '--budgets',
    '8192',
  ),
  'benchmarks.speed.overlap': (
    'benchmarks.speed.overlap', '--tiny', '--seeds', '1', '--workers', '1',
    '--ways', 'overlap',
  ),
  'benchmarks.quality.precision': (
    'benchmarks.quality.precision', '--layers', '1', '--rows', '2', '--tokens',
    '24', '--repeats', '1', '--ways', 'bfloat16 products',
  ),
  'benchmarks.speed.journal': (
    'benchmarks.speed.journal', '--tiny', '--repeats', '1',
  ),
  'benchmarks.speed.frozen_tower': (
    'benchmarks.speed.frozen_tower', '--tiny', '--repeats', '1',
  ),
  'benchmarks.speed.endpoint': (
    'benchmarks.speed.endpoint', '--clients', '2', '--tokens', '8', '--rounds',
    '1', '--repeats', '1', '--width', '32', '--layers', '1',
  ),
  'benchmarks.stress.poisoned': (
    'benchmarks.stress.poisoned', '--requests', '40', '--threads', '4',
  ),
  'benchmarks.speed.turns': (
    'benchmarks.speed.turns', 'generate', '--tokens', '8', '--rounds', '1',
    '--side', 'rollout.tokens_per_call=4',
  ),
  'benchmarks.speed.handover': ('benchmarks.speed.handover', '--tiny'),
  'benchmarks.speed.low_precision': (
    'benchmarks.speed.low_precision', '--tiny', '--problems', '4', '--samples',
    '2', '--repeats', '1', '--max-length', '64',
  ),
  'benchmarks.quality.reward_models': (
    'benchmarks.quality.reward_models', '--pairs', '32', '--held-out', '8',
    '--seeds',
    '1',
  ),
  'k15.main facts.py': _main('facts.py:smoke', '--config.rl.iterations=1'),
  'benchmarks.quality.facts': (
    'benchmarks.quality.facts', '--config=experiments/facts.py:smoke',
    '--samples=100',
  ),
  'benchmarks.quality.shuffled_pictures': (
    'tests/runs/test_killed_vision.py::test_a_run_is_asked_with_its_pictures_swapped'
  ),
  'k15.main vision.py': (
    'tests/runs/test_killed_vision.py::test_a_run_killed_in_its_stages_ends_the_same'
  ),
  'benchmarks.reproduce': 'tests/benchmarks/reproduce/test_tuning.py',
  'benchmarks.speed.gpu': 'make bench-gpu',
  'tensorboard': 'tests/training/test_logs.py',
  'pip install': (
    'tests/rooms/test_commands.py::test_extras_that_are_named_exist'
  ),
}  # fmt: skip


def named() -> dict[str, list[str]]:
  """Commands by what they are called in `SHORT`, each as a line of a shell."""
  found = {}
  for page in _pages():
    for line in _lines(page):
      found.setdefault(key_of(line), []).append(line)
  for target in targets():
    found.setdefault(f'make {target}', []).append(f'make {target}')
  return found


def targets() -> list[str]:
  """Of the Makefile, for people: those that its .PHONY lists."""
  text = (ROOT / 'Makefile').read_text().replace('\\\n', ' ')
  return re.search(r'^\.PHONY:(.*)$', text, re.MULTILINE)[1].split()


def key_of(line: str) -> str:
  """What a command is called in `SHORT`."""
  words = shlex.split(line, comments=True)
  while '=' in words[0]:
    words.pop(0)
  name = pathlib.Path(words[0]).name
  if name in ('make', 'pip', 'k15'):
    return f'{name} {words[1]}'
  if name != 'python':
    return name
  if words[1] != '-m':
    return words[1]
  if words[2] != 'k15.main':
    return words[2]
  [config] = [w for w in words if w.startswith('--config=')]
  config = config.removeprefix('--config=').removeprefix('experiments/')
  return f'k15.main {config.partition(":")[0]}'


def _pages():
  yield ROOT / 'README.md'
  yield ROOT / 'CONTRIBUTING.md'
  for page in sorted((ROOT / 'docs').rglob('*.md')):
    if page.name != 'map.md':  # First lines of docstrings: no commands.
      yield page
  yield from sorted((ROOT / 'experiments').rglob('*.py'))


def _lines(page):
  """Indented or quoted commands of a page; of a config, of its docstring."""
  text = page.read_text()
  if page.suffix == '.py':
    text = ast.get_docstring(ast.parse(text), clean=False) or ''
  text = re.sub(r'\\\n\s*', ' ', text)
  quoted = re.sub(r'```.*?```', '', text, flags=re.DOTALL)
  quoted = re.sub(r'(?<=\S)\n *(?=\S)', ' ', quoted)
  lines = re.findall(r'^(?: {4}|\t)\s*(.*)$', text, re.MULTILINE)
  for line in [*lines, *re.findall(r'`([^`]+)`', quoted)]:
    line = re.sub(r'\s\[[^\]]*\]', '', line)  # What may be left out.
    line = re.sub(r'\s+', ' ', line)
    if _START.match(line) and ' -c ' not in line:
      yield line.strip()
