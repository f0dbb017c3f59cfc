"""From a config to problems: generated ones, and those of a user's file."""

import collections
import dataclasses
import json

import hf_tokenizers
import pyarrow as pa
import pyarrow.parquet
import pytest
import small_run

from benchmarks.quality import public_data
from experiments import base
from experiments import r1_zero
from k15.checkpoints import hf_tokenizer
from k15.data_types import Example
from k15.rewards import rules
from k15.runtime import context
from k15.runtime import task as task_lib

GSM8K = public_data.folder() / 'gsm8k'


def _build(config):
  return task_lib.build(config, context.make_tokenizer(config))


def _arithmetic(**changes):
  config = base.get_config()
  config.task.train_problems = 40
  config.task.held_out_problems = 10
  config.sft.num_examples = 30
  for key, value in changes.items():
    group, _, name = key.partition('__')
    config[group][name] = value
  return config


def test_arithmetic_has_the_sizes_asked_for_and_no_overlap():
  task = _build(_arithmetic())
  assert (len(task.train), len(task.held_out)) == (40, 10)
  assert len(task.examples) == 30
  held_out = {problem.prompt for problem in task.held_out}
  assert not held_out & {problem.prompt for problem in task.train}
  assert not held_out & {e.problem.prompt for e in task.examples}


def test_the_same_config_builds_the_same_task():
  first, second = (_build(_arithmetic()) for _ in range(2))
  assert first.train == second.train
  assert first.held_out == second.held_out
  assert first.examples == second.examples
  config = _arithmetic()
  config.seed = 1
  assert _build(config).train != first.train


def test_a_template_is_put_around_a_prompt_and_its_suffix():
  config = _arithmetic(
    task__template=r1_zero.TEMPLATE,
    task__prompt_suffix=' {y}',
    rollout__max_prompt_length=640,
  )
  task = _build(config)
  put = task.prompt_text('What is {x}?')
  # DeepSeek-R1, table 1.
  assert put.startswith('A conversation between User and Assistant. The ')
  assert put.endswith(
    'i.e., <think> reasoning process here </think> <answer> answer here '
    '</answer>. User: What is {x}? {y}. Assistant:'
  )
  assert task.tokenizer.decode(task.encode_prompt('What is {x}?')) == put
  assert not task.is_chat and not task.opening('What?')


def test_worked_solutions_have_the_form_that_is_asked_for():
  for name in ('arithmetic', 'word_problems'):
    config = _arithmetic(
      task__name=name,
      task__thinking='answer',
      task__guess_rate=0.0,
      rollout__max_prompt_length=640,
    )
    task = _build(config)
    faults = {rules.format_fault(e.response) for e in task.examples}
    assert faults == {''}


def test_word_problems_are_held_out_by_numbers_and_by_templates():
  config = _arithmetic(
    task__name='word_problems',
    task__held_out_problems=20,
    task__min_steps=2,
    task__max_distractors=1,
    rollout__max_prompt_length=512,
  )
  task = _build(config)
  assert (len(task.train), len(task.examples)) == (40, 30)
  # A quarter of 20 have new templates.
  counts = collections.Counter(task.parts.values())
  assert counts == dict(seen_templates=15, new_templates=5)
  assert set(task.parts) == {problem.id for problem in task.held_out}
  trained = [*task.train, *(e.problem for e in task.examples)]
  assert {p.id.partition(':')[0] for p in trained} == {'training'}
  assert all(r'\boxed{' in example.response for example in task.examples)
  first = _build(config)
  assert (first.train, first.held_out) == (task.train, task.held_out)
  assert first.examples == task.examples
  config.task.new_templates_share = 0.0
  assert set(_build(config).parts.values()) == {'seen_templates'}
  assert _build(_arithmetic()).parts == {}


def test_a_file_is_split(tmp_path):
  task = _build(small_run.make_config(tmp_path))
  assert (len(task.train), len(task.held_out)) == (26, 4)  # 30 lines
  assert len(task.examples) == 26
  assert (
    task.encode_prompt('1+1').tobytes()
    == task.tokenizer.encode('1+1\n').tobytes()
  )


def test_what_a_prompt_opens_of_its_response(tmp_path):
  plain = _build(small_run.make_config(tmp_path))
  assert plain.opening('What?') == ''
  suffix = dataclasses.replace(plain, prompt_suffix=' Assistant: <think>\n')
  assert suffix.opening('What?') == '<think>'
  assert plain.opening('What? Assistant: <think>') == '<think>'
  # A guess is asked in other words than the task's.
  assert suffix.opening_of_turn('What? At once:') == ''


@pytest.mark.parametrize(
  ('template', 'opening'),
  [
    (hf_tokenizers.TEMPLATE, ''),
    (hf_tokenizers.TEMPLATE + '<think>\n', '<think>'),
    (hf_tokenizers.TEMPLATE + '<think>\n\n</think>\n\n', ''),
  ],
)
def test_what_a_template_opens_of_a_response(tmp_path, template, opening):
  directory = hf_tokenizers.write(tmp_path / 'model', template)
  task = task_lib.Task(
    hf_tokenizer.HfTokenizer(directory), '', [], [], [], is_chat=True
  )
  assert task.opening('What?') == opening
  assert task.opening_of_turn('What? At once:') == opening


def test_the_prompt_set_is_cut_to_size(tmp_path):
  config = small_run.make_config(tmp_path, task__train_problems=5)
  assert len(_build(config).train) == 5


def test_parquet_with_fields_of_other_names_and_its_own_held_out_file(tmp_path):
  rows = dict(question=['1+1', '1+2', '1+3', '1+4'], solution=list('2345'))
  path, held_out = tmp_path / 'a.parquet', tmp_path / 'held_out.jsonl'
  pyarrow.parquet.write_table(pa.table(rows), path)
  held_out.write_text(json.dumps(dict(question=' 1+2 ', solution=3)))
  config = small_run.make_config(
    tmp_path,
    task__train_path=str(path),
    task__held_out_path=str(held_out),
    task__prompt_field='question',
    task__answer_field='solution',
    stages=('rl',),
    rl__problems_per_iteration=3,
  )
  task = _build(config)
  # The held-out prompt leaves the training side.
  assert [problem.answer for problem in task.train] == ['2', '4', '5']
  assert [problem.answer for problem in task.held_out] == ['3']
  assert task.examples == []


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f'no GSM8K in {GSM8K}')
def test_gsm8k_as_it_comes(tmp_path):
  lines = (GSM8K / 'train.jsonl').read_text().splitlines()[:50]
  path = tmp_path / 'gsm8k.jsonl'
  path.write_text('\n'.join(lines))
  config = small_run.make_config(
    tmp_path,
    task__train_path=str(path),
    task__prompt_field='question',
    task__response_field='answer',
    task__held_out_problems=10,
    rollout__max_prompt_length=600,
    rollout__max_length=900,
    sft__batch_tokens=1500,
  )
  task = _build(config)
  assert (len(task.train), len(task.held_out)) == (40, 10)
  assert all(p.answer.replace(',', '').isdigit() for p in task.train)
  assert all('####' in example.response for example in task.examples)


def _write(path, rows):
  path.write_text('\n'.join(json.dumps(row) for row in rows))
  return str(path)


LONG = 'What is the remainder when $2^{100}$ is divided by $7$?'


@pytest.mark.parametrize(
  ('key', 'row'),
  [
    ('evaluation__sets', dict(prompt='7 + 1', answer=8)),
    ('evaluation__sets', dict(problem='7 + 1', solution='$\\boxed{8}$')),
    ('evaluation__sets', dict(question='7+1?', answer='#### 8')),
    (
      'evaluation__sets',
      dict(task_id=1, text='7 + 1', code='f', test_list=[]),
    ),
    ('curation__evaluation_paths', dict(prompt='7 + 1')),
    ('task__held_out_path', dict(prompt='7 + 1', answer='8')),
  ],
)
def test_what_is_evaluated_is_not_trained_on(tmp_path, capsys, key, row):
  spare = dict.fromkeys(('prompt', 'problem', 'question', 'text'), 'spare')
  spare = {field: spare.get(field, row[field]) for field in row}
  path = _write(tmp_path / 'measured.jsonl', [spare, row])
  value = path if key == 'task__held_out_path' else (path,)
  changes = {key: value, 'task__held_out_problems': 1}
  config = small_run.make_config(tmp_path, **changes)
  task = _build(config)
  # The second line, which is not asked of a held-out file, is kept out too.
  assert len(task.held_out) == 1
  prompts = [p.prompt for p in task.train]
  assert '7+1' not in prompts and '8+1' in prompts
  assert '7+1' not in {e.problem.prompt for e in task.examples}
  printed = capsys.readouterr().out
  assert 'training problems are left out, because they ask what is' in printed
  assert 'worked solutions are left out, because they ask what is' in printed


def test_an_instruction_around_a_problem_hides_it_not(tmp_path):
  rows = [
    dict(prompt=f'Solve this.\n\n{LONG}\n\nBox the answer.', answer='2'),
    *(dict(prompt=f'{i}+1', answer=i + 1) for i in range(9)),
  ]
  measured = _write(tmp_path / 'm.jsonl', [dict(problem=LONG, answer='2')])
  config = small_run.make_config(
    tmp_path,
    stages=('rl',),
    task__train_path=_write(tmp_path / 'a.jsonl', rows),
    evaluation__sets=(measured,),
    rollout__max_prompt_length=100,
  )
  assert len(_build(config).train) == 9 - 4  # Four are held out.


def test_generated_problems_that_are_evaluated_are_left_out(tmp_path):
  first = _build(_arithmetic()).train[0]
  path = _write(tmp_path / 'm.jsonl', [dict(prompt=first.prompt, answer='1')])
  task = _build(_arithmetic(evaluation__sets=(path,)))
  assert first.prompt not in {problem.prompt for problem in task.train}
  assert len(task.train) < 40 and len(task.held_out) == 10


def test_a_sorted_file_is_taken_from_everywhere(tmp_path):
  levels = [dict(prompt=f'{i}+1', answer=i + 1) for i in range(400)]
  path = _write(tmp_path / 'sorted.jsonl', levels)

  def taken(seed, **changes):
    config = small_run.make_config(
      tmp_path,
      task__train_path=path,
      task__held_out_path=path,
      task__held_out_problems=100,
      task__train_problems=100,
      stages=('curate',),  # What is held out leaves later.
      seed=seed,
      **changes,
    )
    return [
      [int(p.answer) for p in part]
      for part in (_build(config).train, _build(config).held_out)
    ]

  assert taken(0, task__shuffle=False) == [[*range(1, 101)]] * 2
  first = taken(0, task__shuffle=True)
  assert first == taken(0, task__shuffle=True) != taken(1, task__shuffle=True)
  # Of 100 of 400 drawn alike, 50 +- 5 are of the first half of the file.
  for part in first:
    assert 30 < sum(answer <= 200 for answer in part) < 70


def test_a_file_without_any_answer_names_the_field(tmp_path):
  path = _write(tmp_path / 'a.jsonl', [dict(prompt='a', result='1')])
  config = small_run.make_config(
    tmp_path, task__train_path=path, task__drop_unusable=True
  )
  with pytest.raises(ValueError, match="a.jsonl: .* task.answer_field, 'answ"):
    _build(config)


@pytest.mark.parametrize('number', ['NaN', 'Infinity', 'null', '""'])
def test_answers_that_are_none_are_dropped_or_refused(tmp_path, number, capsys):
  lines = [json.dumps(dict(prompt=f'{i}+1', answer=i + 1)) for i in range(12)]
  lines += [f'{{"prompt": "a", "answer": {number}}}']
  path = tmp_path / 'a.jsonl'
  path.write_text('\n'.join(lines))
  changes = dict(task__train_path=str(path), stages=('rl',))
  config = small_run.make_config(tmp_path, **changes)
  with pytest.raises(ValueError, match="a.jsonl, line 13: field 'answer' is"):
    _build(config)
  config.task.drop_unusable = True
  task = _build(config)
  assert len(task.train) + len(task.held_out) == 12
  assert '1 of ' in capsys.readouterr().out


def test_responses_end_and_those_too_long_are_counted(tmp_path):
  task = _build(small_run.make_config(tmp_path))
  pairs, dropped = task_lib.sft_pairs(task, max_length=7)
  # '#### 7' and the end are 7 tokens, '#### 17' and the end 8.
  assert dropped == sum(
    e.problem.answer >= '11' for e in task.examples if len(e.response) > 6
  )
  assert all(len(pair.response) <= 7 for pair in pairs)
  assert all(pair.response[-1] == task.tokenizer.eos_id for pair in pairs)


@pytest.mark.parametrize(
  ('line', 'sentence'),
  [
    ('{"prompt": "1+1"', 'line 2: not JSON'),
    ('{"prompt": "1+1"}', "line 2: no field 'answer'"),
    ('{"prompt": 3, "answer": "4"}', "line 2: field 'prompt' is a int"),
  ],
)
def test_a_malformed_line_is_named(tmp_path, line, sentence):
  path = tmp_path / 'bad.jsonl'
  path.write_text('{"prompt": "0+0", "answer": "0"}\n' + line)
  config = small_run.make_config(tmp_path, task__train_path=str(path))
  with pytest.raises(ValueError) as error:
    _build(config)
  assert sentence in str(error.value)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(rollout__max_prompt_length=3),
      'has 4 tokens, more than rollout.max_prompt_length = 3',
    ),
    (
      dict(rl__problems_per_iteration=27),
      '26 training problems, fewer than rl.problems_per_iteration = 27',
    ),
    (
      dict(stages=('short_rl',), rl__problems_per_iteration=27),
      '26 training problems, fewer than rl.problems_per_iteration = 27',
    ),
    (
      dict(rollout__max_length=4),
      '26 worked solutions, none of at most rollout.max_length - 1 = 3 tokens',
    ),
    (
      dict(task__response_field='solution'),
      "stage 'sft' has nothing to learn from: 0 worked solutions",
    ),
    (
      dict(task__held_out_problems=30),
      '30 held-out problems of 30 distinct prompts leave none to train on',
    ),
  ],
)
def test_what_a_stage_would_trip_over_is_refused(tmp_path, changes, sentence):
  config = small_run.make_config(tmp_path, **changes)
  with pytest.raises(ValueError) as error:
    _build(config)
  assert sentence in str(error.value)


@pytest.mark.parametrize('stage', ['long_cot', 'shortest', 'dpo'])
def test_no_problems_at_all_are_refused(tmp_path, stage):
  path = tmp_path / 'rows.jsonl'
  path.write_text(json.dumps(dict(prompt='1+1' + ' ' * 20, answer='2')))
  held = tmp_path / 'held.jsonl'
  held.write_text(json.dumps(dict(prompt='2+2', answer='4')))
  config = small_run.make_config(
    tmp_path,
    stages=(stage,),
    task__train_path=str(path),
    task__held_out_path=str(held),
    task__drop_unusable=True,
  )
  with pytest.raises(
    ValueError, match=f'0 training .* the 1 that stage {stage}'
  ):
    _build(config)


def test_nothing_to_evaluate_on_is_refused(tmp_path):
  path = tmp_path / 'held.jsonl'
  path.write_text(json.dumps(dict(prompt='1+1' + ' ' * 20, answer='2')))
  changes = dict(task__held_out_path=str(path), task__drop_unusable=True)
  config = small_run.make_config(tmp_path, **changes)
  with pytest.raises(ValueError, match='0 held-out problems'):
    _build(config)


def test_a_text_is_encoded_once(tmp_path, monkeypatch):
  task = _build(small_run.make_config(tmp_path))
  encoded, encode = [], task.tokenizer.encode
  monkeypatch.setattr(
    task.tokenizer, 'encode', lambda text: encoded.append(text) or encode(text)
  )
  tokens = [task.encode_prompt(prompt) for prompt in ('9+9', '8+8', '9+9')]
  assert encoded == ['9+9\n', '8+8\n']
  assert tokens[0].tolist() == tokens[2].tolist() == encode('9+9\n').tolist()
  with pytest.raises(ValueError, match='read-only'):
    tokens[0][0] = 1
  # Another suffix is another task, with tokens of its own.
  other = dataclasses.replace(task, prompt_suffix='?')
  assert other.encode_prompt('9+9').tolist() == encode('9+9?').tolist()


def test_examples_longer_than_a_row_are_left_out_and_counted(tmp_path):
  rows = [dict(prompt=f'{i}', answer='1', response='#### 1') for i in range(9)]
  # Not among the problems to train on, but among the worked solutions.
  rows[8]['prompt'] = '8' * 40
  path = tmp_path / 'rows.jsonl'
  path.write_text('\n'.join(json.dumps(row) for row in rows))
  held = tmp_path / 'held.jsonl'
  held.write_text(json.dumps(dict(prompt='h', answer='1')))
  task = _build(
    small_run.make_config(
      tmp_path,
      task__train_path=str(path),
      task__held_out_path=str(held),
      task__train_problems=8,
    )
  )
  assert len(task.examples) == 9
  # A row holds 16 + 16 tokens, that example 41 + 7.
  pairs, dropped = task_lib.sft_pairs(task, 16, 32)
  assert (len(pairs), dropped) == (8, 1)


def test_unusable_problems_are_left_out_and_counted(tmp_path, capsys):
  rows = [
    dict(prompt=f'{i}+1', answer=None if i == 2 else str(i)) for i in range(12)
  ]
  rows[5]['prompt'] = '5+1' + ' ' * 20
  path = tmp_path / 'rows.jsonl'
  path.write_text('\n'.join(json.dumps(row) for row in rows))
  config = small_run.make_config(
    tmp_path,
    stages=('rl',),
    task__train_path=str(path),
    task__drop_unusable=True,
  )
  task = _build(config)
  assert len(task.train) + len(task.held_out) == 10
  printed = capsys.readouterr().out
  assert 'problems are left out: no answer, or a prompt longer than' in printed
  config.task.drop_unusable = False
  with pytest.raises(ValueError, match="field 'answer' is a NoneType"):
    _build(config)


def _small(folder, **changes):
  """A task on a small checkpoint of a file's problems."""
  directory = hf_tokenizers.write(folder / 'tokenizer', **changes)
  config = small_run.make_config(folder, rollout__max_prompt_length=64)
  config.checkpoint = str(directory)
  return _build(config), hf_tokenizer.HfTokenizer(directory)


def test_a_prompt_without_a_chat_begins_as_the_tokenizer_says(tmp_path):
  task, tokenizer = _small(tmp_path, template=None, begins_with='<|endoftext|>')
  expected = [0, *tokenizer.encode('1+1\n')]  # <|endoftext|>
  assert task.encode_prompt('1+1').tolist() == expected
  assert task.prompt_text('1+1') == '1+1\n'


def test_worked_solutions_end_and_begin_as_the_template_does(tmp_path):
  task, tokenizer = _small(
    tmp_path, template=hf_tokenizers.R1, eos_token='<|endoftext|>'
  )
  problem = task.train[0]
  text = f'<|endoftext|>User:{problem.prompt}\nAssistant:<think>\n'
  assert task.prompt_text(problem.prompt) == text
  examples = [
    Example(problem, response)
    for response in ('<think>\nhm\n</think>\n2', 'hm\n</think>\n2')
  ]
  task = dataclasses.replace(task, examples=examples)
  pairs, _ = task_lib.sft_pairs(task, 100)
  for prompt, response, _ in pairs:
    assert prompt.tolist() == tokenizer.encode_rendered(text).tolist()
    # <|im_end|>, by which the template ends turns.
    expected = [*tokenizer.encode('hm\n</think>\n2'), 2]
    assert response.tolist() == expected
