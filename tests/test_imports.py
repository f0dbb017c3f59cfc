"""The table of who may import whom, and no work while a page is imported."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = ('k15', 'experiments', 'launch')

CONFIG = (
  'config_keys', 'config_stages', 'config_routes', 'config_layout',
  'config_checks', 'config_stage_checks', 'config_resume',
  'config_experiment_files', 'command_line',
)  # fmt: skip
EQUATIONS = (
  'losses', 'advantages', 'problem_sampler', 'replay', 'batching',
  'arithmetic', 'arithmetic_traces', 'answer_forms', 'answer_pairs',
  'curation', 'question_types', 'near_duplicates', 'tagging', 'funnel',
  'long2short', 'cognitive', 'rollout_correction', 'eval_metrics', 'intervals',
)  # fmt: skip
DEVICES = (
  'policy', 'sharding', 'optimizer', 'update', 'tokenizer', 'rows',
  'checkpoint', 'files', 'fingerprints', 'logs',
  'hf', 'hf_config', 'hf_export', 'hf_fields',
  'hf_files', 'hf_rope', 'hf_template',
  'hf_tokenizer', 'rope', 'kv_cache', 'heads', 'host_memory',
  'quiet_imports', 'root_logger',
  'attention', 'chunked_attention', 'precision', 'models', 'merging',
  'stage_inputs', 'hosts', 'handover',
  'conversations', 'packing', 'token_store',
)  # fmt: skip
STAGES = (
  'steps', 'sft', 'sft_data', 'long_cot', 'long_cot_samples', 'rl',
  'rl_stage', 'rl_rollout', 'rl_updates', 'curate',
  'curation_steps', 'preference', 'shortest', 'short_rl', 'reward_training',
  'eval_stage',
)  # fmt: skip
REPORTS = (
  'report', 'page', 'figures', 'charts', 'slot_chart', 'funnel_chart',
  'stage_charts',
  'eval_table', 'run_files', 'comparison', 'final_scores',
  'comparison_figures', 'comparison_charts', 'comparison_tables',
  'comparison_page',
)  # fmt: skip
BELOW_ROLLOUT = [
  *CONFIG, 'data_types', 'correctness', 'streams', *EQUATIONS, *DEVICES,
]  # fmt: skip
GENERATION = ['asks', 'journal', 'writers', 'draw']
BELOW_EVALUATE = [*BELOW_ROLLOUT, 'rollout', 'rewards', 'task', 'problems']
BELOW_STAGES = [
  *BELOW_EVALUATE, 'evaluate', 'context', 'judges', 'run_weights',
  'rollouts', 'rl_metrics', 'eval_sets', 'eval_table',
  *GENERATION, 'responses',
]  # fmt: skip
BELOW_RECIPE = [*BELOW_STAGES, *STAGES]

# Page or folder of k15 -> the pages and folders of k15 it may import.
MAY_IMPORT = {
  **dict.fromkeys(CONFIG, CONFIG),
  'data_types': [],
  'streams': ['config_stages'],
  'correctness': [],
  'exit_codes': [],
  **{page: ['data_types', 'streams', *EQUATIONS] for page in EQUATIONS},
  'question_types': ['config_keys', 'data_types'],
  'rewards': ['config_routes', 'data_types', 'rewards'],
  **{page: [*CONFIG, 'data_types', 'streams', *DEVICES] for page in DEVICES},
  'conversations': ['rows', 'rewards'],
  'update': ['data_types', *DEVICES, 'losses'],  # It takes their gradient.
  'merging': [*DEVICES, 'long2short'],
  'rollout': [*BELOW_ROLLOUT, 'rollout'],
  'serve': BELOW_STAGES,  # A command of its own.
  'eval_sets': [*CONFIG, 'data_types', 'problems', 'rows', 'rewards'],
  'task': [*BELOW_ROLLOUT, 'problems', 'eval_sets', 'rewards'],
  'evaluate': [*BELOW_EVALUATE, *GENERATION],
  'judges': BELOW_EVALUATE,
  'context': [*BELOW_EVALUATE, 'judges'],
  'run_weights': [*BELOW_EVALUATE, 'context'],
  'rollouts': [*BELOW_EVALUATE, 'context', 'run_weights'],
  'responses': [
    *BELOW_EVALUATE,
    *GENERATION,
    'context',
    'run_weights',
    'rollouts',
  ],
  **{
    page: [*BELOW_EVALUATE, *GENERATION[:i]]
    for i, page in enumerate(GENERATION)
  },
  'problems': ['data_types', 'streams', 'files', 'rows', 'rewards'],
  'rl_metrics': ['data_types', 'correctness', *EQUATIONS],
  **{page: [*BELOW_STAGES, *STAGES] for page in STAGES},
  'recipe': [*BELOW_RECIPE, *REPORTS],
  **{
    page: [
      'files',
      'correctness',
      'intervals',
      *CONFIG,
      *REPORTS,
    ]  # fmt: skip
    for page in REPORTS
  },
  'compare': [
    'files',
    'correctness',
    'eval_metrics',
    'streams',
    *REPORTS,
  ],  # A command of its own.
  'main': [
    *BELOW_RECIPE,
    *REPORTS,
    'recipe',
    'exit_codes',
  ],
}
# Workers need grpcio, which a trainer without them does not.
IN_A_FUNCTION = [
  ('rollouts.py', 'k15.rollout.access'),
  ('rollouts.py', 'k15.rollout.workers'),
]
PAGES = sorted(
  path.relative_to(ROOT)
  for name in OURS
  for path in (ROOT / name).rglob('*.py')
)
TREES = {page: ast.parse((ROOT / page).read_text()) for page in PAGES}
DEVICE_WORK = (
  'jnp.', 'jax.numpy.', 'jax.random.', 'jax.device', 'jax.local_device',
  'jax.make_mesh', 'jax.lax.', 'jax.nn.',
)  # fmt: skip


def _imports(tree):
  """(node, dotted name) of everything a tree imports."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((node, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno}: a relative import'
      yield from ((node, f'{node.module}.{a.name}') for a in node.names)


def _place(page):
  """Row of the table: 'rollout' for k15/rollout/engine.py."""
  own = '/'.join(page.with_suffix('').parts[1:])
  return own if own in MAY_IMPORT else page.with_suffix('').parts[1]


def _at_import(node):
  """Every node that runs when the page is imported."""
  for child in ast.iter_child_nodes(node):
    if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
      defaults = [*child.args.defaults, *child.args.kw_defaults]
      for part in [*defaults, *getattr(child, 'decorator_list', [])]:
        if part is not None:
          yield part
          yield from _at_import(part)
    else:
      yield child
      yield from _at_import(child)


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_imports_follow_the_table(page):
  top, place = page.parts[0], _place(page)
  for node, name in _imports(TREES[page]):
    root, _, rest = name.partition('.')
    where = f'{page}:{node.lineno} imports {name}'
    assert root != 'jetstream' or page.name == 'jetstream_adapter.py', where
    if name.startswith(('k15.rollout.jetstream_', 'k15.rollout.engine')):
      serving = ('serve.py', 'engine.py', 'jetstream_driver.py')
      assert page.name in serving, where
    if root in OURS and (page.name, name) not in IN_A_FUNCTION:
      assert node in TREES[page].body, f'{where} inside a block'
    if top == 'k15' and root in OURS:
      assert root == 'k15', where
      assert place in MAY_IMPORT, f'{page} has no row in the table'
      assert rest.split('.')[0] in MAY_IMPORT[place], where
    if top == 'experiments':
      known = ('ml_collections', 'experiments')
      assert root in known or root in sys.stdlib_module_names, where
    is_config = rest.split('.')[0] in CONFIG
    if top == 'launch' and (root == 'jax' or root == 'k15' and not is_config):
      plan = ('plan.py', 'plan_programs.py', 'topologies.py')
      assert page.name in plan or name == 'k15.exit_codes', where
    if top == 'k15' and place in CONFIG:
      assert root not in ('jax', 'numpy', 'flax'), where


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_modules_are_imported_not_names_except_types(page):
  for node, name in _imports(TREES[page]):
    if name.split('.')[0] not in OURS or isinstance(node, ast.Import):
      continue
    path = ROOT.joinpath(*name.split('.'))
    is_module = path.is_dir() or path.with_suffix('.py').is_file()
    is_type = name.rpartition('.')[2][0].isupper()
    assert is_module or is_type, f'{page}:{node.lineno} imports {name}'


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_no_device_work_while_importing(page):
  for node in _at_import(TREES[page]):
    if isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      assert called == 'jnp.dtype' or not called.startswith(DEVICE_WORK), (
        f'{page}:{node.lineno} calls {called} when imported'
      )


def test_the_walk_sees_what_runs_at_import():
  tree = ast.parse(
    'a = jnp.a()\n'
    'def f(x=jnp.b()):\n  jnp.hidden()\n'
    'class C:\n  y: int = jnp.c()\n  def g(self): jnp.hidden()\n'
    'h = lambda z=jnp.d(): jnp.hidden()\n'
    '@jnp.e()\ndef i(): pass\n'
    'if x:\n  jnp.f()\n'
  )
  calls = [n for n in _at_import(tree) if isinstance(n, ast.Call)]
  assert sorted(ast.unparse(n.func) for n in calls) == [
    f'jnp.{letter}' for letter in 'abcdef'
  ]
