"""Files as their authors publish them."""

import gzip
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from experiments import evaluate as experiment
from k15.data import evaluation_sets
from k15.rewards.code import programs
from k15.rewards.sandbox import languages

ROWS = dict(
  math=dict(problem='$1+1$?', solution='...', answer='2', subject='Algebra'),
  gsm8k=dict(question='One and one?', answer='It is <<1+1=2>>2.\n#### 2'),
  humaneval=dict(
    task_id='HumanEval/0',
    prompt='def f(x):\n  """Twice x."""\n',
    entry_point='f',
    canonical_solution='  return 2 * x\n',
    test='def check(candidate):\n  assert candidate(1) == 2\n',
  ),
  mbpp=dict(
    task_id=2,
    text='Double a number.',
    code='def f(x):\n  return 2 * x',
    test_list=['assert f(1) == 2'],
  ),
  own=dict(prompt='1+1?', answer=2, domain='sums', difficulty=0.5, id='a'),
)


def _write(folder, kind):
  text = json.dumps(ROWS[kind]) + '\n'
  if kind == 'humaneval':
    path = folder / 'HumanEval.jsonl.gz'
    path.write_bytes(gzip.compress(text.encode()))
  else:
    path = folder / f'{kind}.jsonl'
    path.write_text(text)
  return str(path)


def _config(paths, **changes):
  config = experiment.get_config()
  config.evaluation.update(dict(sets=tuple(map(str, paths))) | changes)
  return config


@pytest.mark.parametrize('kind', list(ROWS))
def test_the_fields_tell_the_format(tmp_path, kind):
  assert evaluation_sets.format_of(_write(tmp_path, kind)) == kind


def test_math500_is_an_array_too(tmp_path):
  path = tmp_path / 'math500.json'
  path.write_text(json.dumps([ROWS['math']]))
  assert evaluation_sets.format_of(str(path)) == 'math'


def test_every_format_with_its_prompt_and_reward(tmp_path):
  paths = [_write(tmp_path, kind) for kind in ROWS]
  config = _config(paths)
  found = {s.name: s for s in evaluation_sets.read(config, is_chat=True)}
  assert list(found) == ['math', 'gsm8k', 'HumanEval', 'mbpp', 'own']
  assert {s.reward for s in found.values()} == {
    'math_answers',
    'code_tests',
    '',
  }
  (math,) = found['math'].problems
  assert math.prompt == (
    '$1+1$?\n\nReason step by step, and put the final answer in \\boxed{}.'
  )
  assert (math.answer, math.domain) == ('2', 'Algebra')
  (gsm8k,) = found['gsm8k'].problems
  assert gsm8k.answer == '2' and gsm8k.prompt.startswith('One and one?\n\n')
  (program,) = found['HumanEval'].problems
  assert program.prompt.endswith(
    '```python\n' + ROWS['humaneval']['prompt'] + '```'
  )
  wanted = programs.from_text(program.answer)
  assert wanted.language == 'python' and len(wanted.tests) == 1
  (mbpp,) = found['mbpp'].problems
  assert 'Double a number. Write the function f.' in mbpp.prompt
  (own,) = found['own'].problems
  assert (own.id, own.prompt, own.answer) == ('a', '1+1?\n', '2')
  assert (own.domain, own.difficulty) == ('sums', 0.5)


def test_what_evaluation_reads_is_kept_out_in_every_format(tmp_path):
  paths = [_write(tmp_path, kind) for kind in ROWS]
  config = _config(paths, problems=1)
  lone = tmp_path / 'lone.parquet'  # Only to be kept out.
  rows = dict(problem=['a?', 'b?'], solution=['$\\boxed{0}$', 'none'])
  pyarrow.parquet.write_table(pyarrow.table(rows), lone)
  config.curation.evaluation_paths = (str(lone), paths[0])
  found = evaluation_sets.kept_out(config)
  assert list(found) == [*paths, str(lone)]
  texts = [[p.prompt for p in problems] for problems in found.values()]
  assert texts == [
    ['$1+1$?'],
    ['One and one?'],
    [ROWS['humaneval']['prompt']],
    ['Double a number.'],
    ['1+1?'],
    ['a?', 'b?'],
  ]
  assert [p.answer for p in found[str(lone)]] == ['0', '']


def test_fields_of_the_task_come_first_in_what_is_kept_out(tmp_path):
  path = tmp_path / 'own.jsonl'
  path.write_text(json.dumps(dict(problem='raw', task='asked', answer='1')))
  config = _config([])
  config.task.prompt_field = 'task'
  config.curation.evaluation_paths = (str(path),)
  ((problem,),) = evaluation_sets.kept_out(config).values()
  assert problem.prompt == 'asked'


def test_math_without_an_answer_has_it_in_its_solution(tmp_path):
  path = tmp_path / 'math.jsonl'
  row = dict(problem='a?', solution='It is $\\boxed{0}$.', level='Level 1')
  path.write_text(json.dumps(row))
  ((problem,),) = (
    s.problems for s in evaluation_sets.read(_config([path]), True)
  )
  assert problem.answer == '0'
  path.write_text(json.dumps(row | dict(solution='It is 0.')))
  with pytest.raises(ValueError, match="math.jsonl, line 1: no 'answer', and"):
    evaluation_sets.read(_config([path]), True)


def test_own_sets_have_all_fields_of_the_task(tmp_path):
  path = tmp_path / 'own.jsonl'
  path.write_text(json.dumps(ROWS['own'] | dict(topic='primes')))
  config = _config([path])
  config.task.discipline_field = 'topic'
  ((problem,),) = (s.problems for s in evaluation_sets.read(config, True))
  assert problem.discipline == 'primes'


def test_without_a_chat_a_line_break_ends_the_prompt(tmp_path):
  config = _config([_write(tmp_path, 'math')])
  ((problem,),) = (
    s.problems for s in evaluation_sets.read(config, is_chat=False)
  )
  assert problem.prompt.endswith('\\boxed{}.\n')


def test_names_rewards_templates_and_first_problems(tmp_path):
  path = tmp_path / 'many.jsonl'
  lines = (json.dumps(ROWS['math'] | dict(problem=f'{i}?')) for i in range(9))
  path.write_text('\n'.join(lines))
  config = _config(
    [f'x:{path}', str(path)],
    rewards=('x:exact_answer',),
    templates=('x:Q: {prompt}\nA:',),
    problems=2,
  )
  x, many = evaluation_sets.read(config, is_chat=True)
  assert (x.name, x.reward) == ('x', 'exact_answer')
  assert [p.prompt for p in x.problems] == ['Q: 0?\nA:', 'Q: 1?\nA:']
  assert (many.name, many.reward) == ('many', 'math_answers')


def test_a_prompt_that_is_too_long_refuses_the_set(tmp_path):
  config = _config([_write(tmp_path, 'own')])
  config.rollout.max_prompt_length = 4
  sets = evaluation_sets.read(config, is_chat=True)
  with pytest.raises(
    ValueError, match='own: 1 of 1 prompts .*max_prompt_length = 4: up to 5'
  ):
    evaluation_sets.check_lengths(
      config, lambda text, images: np.zeros(len(text)), sets
    )


CONTESTS = dict(
  livecodebench=dict(
    question_content='Add.', question_id='a', starter_code='', metadata='{}',
    difficulty='hard', private_test_cases='[]',
    public_test_cases='[{"input": "1", "output": "2", "testtype": "stdin"}]',
  ),
  codeforces=dict(
    id='1/A', description='Add.', examples=[dict(input='1', output='2')],
    official_tests=[], rating=800,
  ),
  aime=dict(ID='2024-I-1', Problem='Find $m+n$.', Solution='', Answer=73),
)  # fmt: skip


@pytest.mark.parametrize('kind', CONTESTS)
def test_contests_are_known_by_their_fields(tmp_path, kind):
  path = tmp_path / f'{kind}.jsonl'
  path.write_text(json.dumps(CONTESTS[kind]) + '\n')
  assert evaluation_sets.format_of(str(path)) == kind
  config = _config([path])
  (found,) = evaluation_sets.read(config, is_chat=True)
  (problem,) = found.problems
  if kind == 'aime':
    assert (found.reward, problem.answer) == ('math_answers', '73')
    assert problem.prompt.startswith('Find $m+n$.\n\nReason step by step')
  else:
    (test,) = programs.from_text(problem.answer).tests
    assert (found.reward, test.expected) == ('code_tests', '2')
  ((kept_out,),) = evaluation_sets.kept_out(config).values()
  assert kept_out.prompt in problem.prompt


GPQA = (
  '\ufeffRecord ID,Question,Correct Answer,Incorrect Answer 1,'
  'Incorrect Answer 2,Incorrect Answer 3,High-level domain\r\n'
  'rec1,"Which one,\nof all?",right,"wrong, 1",wrong 2,wrong 3,Physics\r\n'
)


def _gpqa(folder, seed, rows=1):
  path = folder / 'gpqa_diamond.csv'
  path.write_text(GPQA + 'rec2,Who?,a,b,c,d,Biology\r\n' * (rows - 1))
  config = _config([path])
  config.seed = seed
  (found,) = evaluation_sets.read(config, is_chat=True)
  return found


def test_options_are_shuffled_by_the_seed_and_a_letter_is_right(tmp_path):
  answers = []
  for seed in range(12):
    found = _gpqa(tmp_path, seed)
    (problem,) = found.problems
    assert f'\n{problem.answer}. right\n' in problem.prompt
    assert problem.prompt.startswith('Which one,\nof all?\n\nA. ')
    assert (problem.id, problem.domain) == ('rec1', 'Physics')
    # Whatever stands beside it.
    assert _gpqa(tmp_path, seed, rows=2).problems[0] == problem
    answers.append(problem.answer)
  assert found.reward == 'math_answers'
  assert set(answers) == set('ABCD')
  wrong = GPQA.replace('wrong 3', '')
  path = tmp_path / 'gpqa.csv'
  path.write_text(wrong)
  with pytest.raises(ValueError, match='gpqa.csv, row 1: a question or an opt'):
    evaluation_sets.read(_config([path]), is_chat=True)
  path.write_text(GPQA + 'rec3,short\r\n')
  with pytest.raises(ValueError, match='row 2: not as many values as columns'):
    evaluation_sets.read(_config([path]), is_chat=True)


def _humaneval_mul(folder, *tags):
  rows = [
    dict(name=f'h_{tag}', language=tag, prompt='f', tests='}}}', stop_tokens=[])
    for tag in tags
  ]
  path = folder / 'mul.jsonl'
  path.write_text('\n'.join(map(json.dumps, rows)))
  return _config([path])


def test_languages_without_an_interpreter_are_named(tmp_path, monkeypatch):
  lacks = lambda row: ('mono',) * (row.source_name == 'main.cs')  # noqa: E731
  monkeypatch.setattr(languages, 'missing', lacks)
  config = _humaneval_mul(tmp_path, 'py', 'cs', 'sh')
  (found,) = evaluation_sets.read(config, is_chat=True)
  assert found.absent == ('csharp',)
  assert [p.domain for p in found.problems] == ['code python', 'code bash']
  config.reward.services = ('http://127.0.0.1:1',)  # It has its own.
  (found,) = evaluation_sets.read(config, is_chat=True)
  assert len(found.problems) == 3
  config = _humaneval_mul(tmp_path, 'cs')
  with pytest.raises(ValueError, match=r"no interpreter here of any \['code c"):
    evaluation_sets.read(config, is_chat=True)
