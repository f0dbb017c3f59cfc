"""Rows as published become problems; hostile rows become one sentence."""

import base64
import io
import json
import pathlib

import numpy as np
import PIL.Image
import pyarrow
import pyarrow.parquet
import pytest

from experiments import evaluate as experiment
from k15.data import evaluation_sets
from k15.data import problem_records
from k15.data import problems as problems_lib
from k15.data import rows
from k15.data_types import Problem
from k15.vision import datasets
from k15.vision import images
from k15.vision import references

RNG = np.random.default_rng(0)
RED, BLUE = (
  np.full((4, 6, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255))
)


def to_png(pixels):
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def struct(pixels, path=None):
  """As Hugging Face's `Image` is in Parquet."""
  return dict(bytes=to_png(pixels), path=path)


GEOMETRY3K = dict(
  images=[struct(RED)],
  problem='<image>Find x.',
  answer='7.5',
  id='g1',
  choices=['7', '7.5', '8', '9'],
  ground_truth='B',
)
MATHVISTA = dict(
  pid='12',
  question='How tall is it?',
  image='images/12.jpg',
  decoded_image=struct(BLUE),
  choices=None,
  unit='cm',
  precision=1.0,
  answer='12.5',
  question_type='free_form',
  answer_type='float',
  metadata=dict(
    category='math-targeted-vqa', context='geometry diagram', grade='high',
    img_height=4, img_width=6, language='english', skills=['geometry'],
    source='x', split='testmini', task='geometry problem solving',
  ),
  query='Hint: ...',
)  # fmt: skip
CHOICE = MATHVISTA | dict(
  pid='13',
  choices=['red', 'blue', 'green', 'none of them'],
  unit=None,
  precision=None,
  answer='blue',
  question_type='multi_choice',
  answer_type='text',
  question='Which colour?',
)
MMMU = dict(
  id='validation_Art_1',
  question='Compare <image 2> with <image 1>. Which is it?',
  options="['<image 1>', 'it\\'s \"blue\"', 'both', '4']",
  explanation='',
  image_1=struct(RED),
  image_2=struct(BLUE),
  **{f'image_{i}': None for i in range(3, 8)},
  img_type="['Paintings']",
  answer='B',
  topic_difficulty='Easy',
  question_type='multiple-choice',
  subfield='Art',
)
MATHVISION = dict(
  id='7',
  question='Which one? <image1>',
  options=['A', 'B', 'C', 'D', 'E'],
  image='images/7.jpg',
  decoded_image=struct(RED),
  answer='C',
  solution=None,
  level=2,
  subject='counting',
)
PUBLISHED = dict(
  geometry3k=GEOMETRY3K, mathvista=MATHVISTA, mmmu=MMMU, mathvision=MATHVISION
)
HERE = pathlib.Path('.')


def read(kind, row, seed=0, keep=references.forget, folder=HERE):
  return datasets.read_row(kind, row, 'rows, row 3', folder, seed, keep)


def pictures(values, folder=HERE):
  return datasets.pictures_of(values, 'rows, row 3', folder)


def digests(*pixels):
  return tuple(map(images.digest, pixels))


def test_geometry3k():
  kept = []
  problem = read('geometry3k', GEOMETRY3K, keep=lambda *both: kept.append(both))
  assert (problem.id, problem.prompt) == ('g1', '<image>Find x.')
  assert (problem.answer, problem.domain) == ('7.5', 'geometry')
  assert problem.digests == digests(RED)
  ((reference, pixels),) = kept
  assert problem.images == (reference,) and (pixels == RED).all()
  assert reference.source == 'rows, row 3, picture 1'
  assert (reference.height, reference.width) == (4, 6)


def test_mathvista():
  problem = read('mathvista', MATHVISTA)
  assert problem.prompt == 'How tall is it? (Unit: cm)'
  assert (problem.id, problem.answer) == ('12', '12.5')
  assert problem.domain == 'geometry problem solving'
  assert problem.discipline == 'geometry diagram'


def test_options_are_shuffled_by_the_seed_and_the_letter_follows():
  orders = set()
  for seed in range(20):
    problem = read('mathvista', CHOICE, seed)
    question, empty, *lines = problem.prompt.split('\n')
    assert (question, empty) == ('Which colour?', '')
    options = dict(line.split('. ') for line in lines)
    assert sorted(options.values()) == sorted(CHOICE['choices'])
    reference = json.loads(problem.answer)
    assert options[reference['letter']] == 'blue'
    assert reference['options'] == list(options.values())
    orders.add(tuple(options.values()))
  # Of 24 orders, 20 draws have 13.7 on average.
  assert 8 <= len(orders) <= 20
  assert read('mathvista', CHOICE, 5) == read('mathvista', CHOICE, 5)


def test_mmmu_has_pictures_where_they_are_named():
  problem = read('mmmu', MMMU, seed=1)
  # Twice the first, for it is an option too.
  assert problem.prompt.startswith('Compare <image> with <image>. Which is it?')
  assert problem.prompt.count('<image>') == 3
  assert problem.digests == digests(BLUE, RED, RED)
  reference = json.loads(problem.answer)
  place = 'ABCD'.index(reference['letter'])
  assert reference['options'][place] == 'it\'s "blue"'
  assert problem.discipline == 'Art' and problem.domain == 'Easy'


def test_mmmu_without_marks_or_without_options():
  row = MMMU | dict(
    question='How many?', options='[]', question_type='open', answer='7'
  )
  problem = read('mmmu', row)
  assert problem.prompt == '<image><image>How many?'
  assert (problem.answer, problem.digests) == ('7', digests(RED, BLUE))
  row |= dict(answer="['1/2', '0.5']")
  assert json.loads(read('mmmu', row).answer) == {'any_of': ['1/2', '0.5']}


def test_mathvision_letters_in_the_picture_stay_in_order():
  for seed in range(5):
    problem = read('mathvision', MATHVISION, seed)
    assert problem.prompt == 'Which one?\n\nA. A\nB. B\nC. C\nD. D\nE. E'
    assert json.loads(problem.answer)['letter'] == 'C'
  assert (problem.difficulty, problem.discipline) == (0.4, 'counting')
  row = MATHVISION | dict(options=[], answer='14')
  assert read('mathvision', row).answer == '14'


@pytest.mark.parametrize('kind', list(PUBLISHED))
@pytest.mark.parametrize('answer', ['', '?', None])
def test_answers_that_are_not_published(kind, answer):
  assert read(kind, PUBLISHED[kind] | dict(answer=answer)).answer == ''
  assert read('mathvista', CHOICE | dict(answer=answer)).answer == ''


def write(folder, kind, *found):
  path = folder / f'{kind}.parquet'
  pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(found)), path)
  return str(path)


def config_of(*paths, **changes):
  config = experiment.get_config()
  config.evaluation.update(dict(sets=paths) | changes)
  return config


def test_sets_are_known_by_their_fields_and_read_whole(tmp_path):
  paths = [write(tmp_path, kind, row) for kind, row in PUBLISHED.items()]
  for path, kind in zip(paths, PUBLISHED, strict=True):
    assert evaluation_sets.format_of(path) == kind
  kept = {}
  config = config_of(*paths)
  found = evaluation_sets.read(
    config, True, lambda ref, pixels: kept.setdefault(ref.digest, pixels)
  )
  assert {s.name: s.reward for s in found} == dict(
    geometry3k='math_answers', mathvista='choice', mmmu='choice',
    mathvision='choice',
  )  # fmt: skip
  asked = {s.name: s.problems[0] for s in found}
  assert kept.keys() == {*digests(RED, BLUE)}
  assert asked['geometry3k'].prompt.startswith('<image>Find x.\n\nReason')
  assert 'letter of the option' in asked['mathvista'].prompt
  assert asked['mmmu'].digests == digests(BLUE, RED, RED)
  assert asked['geometry3k'].images[0].source == (
    f'{paths[0]}, row 1, picture 1'
  )
  # What is evaluated is kept out, by its text and its pictures.
  out = evaluation_sets.kept_out(config)
  assert [p.digests for (p,) in out.values()] == [
    p.digests for p in asked.values()
  ]
  lacks = write(tmp_path, 'hidden', MMMU | dict(answer='?'))
  with pytest.raises(ValueError, match='1 problems have no answer'):
    evaluation_sets.read(config_of(lacks), True)
  ((hidden,),) = evaluation_sets.kept_out(config_of(lacks)).values()
  assert hidden.answer == ''


# Users' rows: pictures beside the prompt, in four ways.


def own(folder, *found, **fields):
  path = folder / 'own.jsonl'
  path.write_text(''.join(json.dumps(row) + '\n' for row in found))
  examples = problems_lib.read_problems(
    str(path), problems_lib.Fields(**fields)
  )
  return [e.problem for e in examples]


def test_a_picture_is_a_file_below_the_row_or_a_data_url(tmp_path):
  (tmp_path / 'pictures').mkdir()
  (tmp_path / 'pictures/red.png').write_bytes(to_png(RED))
  url = 'data:image/png;base64,' + base64.b64encode(to_png(BLUE)).decode()
  both = dict(prompt='a <image> b <image>', answer=1)
  (problem,) = own(tmp_path, both | dict(images=['pictures/red.png', url]))
  assert problem.digests == digests(RED, BLUE)
  (problem,) = own(
    tmp_path, dict(prompt='in front', answer=1, image='pictures/red.png')
  )
  assert problem.digests == digests(RED) and problem.prompt == 'in front'
  # Rows without pictures are what they were.
  (problem,) = own(tmp_path, dict(prompt='<image>', answer=1, images=[]))
  assert problem == Problem('own.jsonl:1', '<image>', '1')


def test_geometry3k_is_a_file_to_train_on_too(tmp_path):
  path = write(tmp_path, 'geometry3k', GEOMETRY3K)
  fields = problems_lib.Fields(prompt='problem')
  ((problem,)) = [e.problem for e in problems_lib.read_problems(path, fields)]
  assert problem.digests == digests(RED) and problem.answer == '7.5'


def test_verls_layout(tmp_path):
  row = dict(
    data_source='hiyouga/geometry3k',
    prompt=[
      dict(role='system', content='Think.'),
      dict(role='user', content='<image>Find x.'),
    ],
    images=[struct(RED)],
    ability='math',
    reward_model=dict(style='rule', ground_truth='7.5'),
    extra_info=dict(split='train', index=0),
  )
  path = write(tmp_path, 'verl', row)
  ((problem,)) = [e.problem for e in problems_lib.read_problems(path)]
  assert (problem.prompt, problem.answer) == ('<image>Find x.', '7.5')
  assert problem.digests == digests(RED)


def test_trls_layout(tmp_path):
  parts = [dict(type='image'), dict(type='text', text='Find x.')]
  row = dict(
    prompt=[dict(role='user', content=parts)], image=struct(RED), solution='7'
  )
  path = write(tmp_path, 'trl', row)
  fields = problems_lib.Fields(answer='solution')
  ((problem,)) = [e.problem for e in problems_lib.read_problems(path, fields)]
  assert (problem.prompt, problem.answer) == ('<image>Find x.', '7')
  assert problem.digests == digests(RED)


def test_references_come_back_from_a_prompt_set(tmp_path):
  reference = references.of_pixels(RED, 'somewhere')
  problem = Problem('a', 'what', '1', images=(reference,))
  assert own(tmp_path, problem_records.to_record(problem)) == [problem]


def test_a_parquet_file_of_structs_is_read_row_by_row(tmp_path):
  path = write(tmp_path, 'geometry3k', GEOMETRY3K, GEOMETRY3K | dict(id='g2'))
  found = [
    datasets.read_row('geometry3k', row, where, tmp_path, 0)
    for _, where, row in rows.read_rows(path)
  ]
  assert [p.id for p in found] == ['g1', 'g2']


# What a hostile row may hold.


@pytest.mark.parametrize(
  'values, reason',
  [
    ([b'no picture'], 'rows, row 3, picture 1: no picture: Unidentified'),
    ([struct(RED), dict(bytes=None, path=None)], 'picture 2: a NoneType'),
    ([7], 'picture 1: a int, not a picture'),
    (['../secret.png'], "'../secret.png' is not in "),
    (['/etc/passwd'], "'/etc/passwd' is not in "),
    (['gone.png'], "no file 'gone.png' in "),
    (['http://example.com/a.png'], 'is no name of a file'),
    (['file:///etc/passwd'], 'is no name of a file'),
    (['a\0b'], 'is no name of a file'),
    (['a' * 5000], 'picture 1: '),
    (['data:image/png;base64,@@@@'], 'picture 1: '),
    ([struct(RED)] * 65, '65 pictures, over 64'),
    ([dict(digest='x')], 'no reference to a picture'),
    (
      [dict(digest='x', height=1, width=1, source='')],
      "'x' is no digest of a picture",
    ),
    (
      [dict(digest='0' * 64, height='1', width=1, source='')],
      'no reference to a picture',
    ),
  ],
)
def test_broken_pictures_are_named(values, reason, tmp_path):
  (tmp_path.parent / 'secret.png').write_bytes(to_png(RED))
  with pytest.raises(ValueError, match=reason) as error:
    pictures(values, tmp_path)
  text = str(error.value)
  assert text.startswith('rows, row 3') and len(text) < 500


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
  folder = tmp_path / 'rows'
  folder.mkdir()
  (tmp_path / 'secret.png').write_bytes(to_png(RED))
  (folder / 'link.png').symlink_to(tmp_path / 'secret.png')
  with pytest.raises(ValueError, match='is not in'):
    pictures(['link.png'], folder)


@pytest.mark.parametrize(
  'kind, changes, reason',
  [
    ('geometry3k', dict(problem=None), "row 3: 'problem' is 'None', not a"),
    ('geometry3k', dict(images=[]), 'row 3: no picture'),
    ('geometry3k', dict(images='x'), "'images' is a str, not a list"),
    ('geometry3k', dict(problem='<image> <image>'), '2 <image> and 1 pictures'),
    ('geometry3k', dict(answer=[1]), r"'answer' is '\[1\]', not a text"),
    ('mathvista', dict(choices=['a']), "the answer '12.5' is not among"),
    ('mathvision', dict(answer='F'), "the answer 'F' is none of 5"),
    ('mathvision', dict(options=['x'] * 27, answer='A'), '27 options'),
    ('mathvision', dict(level=9), "level '9', not 1 to 5"),
    ('mmmu', dict(question='see <image 5>'), r'pictures \[5\] are named'),
    ('mmmu', dict(options='__import__("os").system("x")'), 'no list of texts'),
    ('mmmu', dict(options='[' * 9000), 'no list of texts'),
    ('mmmu', dict(options='[' + '1,' * 20000 + ']'), 'a list of 40002 letters'),
    ('mmmu', dict(options='{"a": 1}'), 'no list of texts'),
    ('mmmu', dict(options="[['a'], 'b']"), 'no list of texts'),
    ('mmmu', dict(answer='AB'), "the answer 'AB' is none of 4"),
  ],
)
def test_hostile_rows_are_refused_in_a_sentence(kind, changes, reason):
  with pytest.raises(ValueError, match=reason) as error:
    read(kind, PUBLISHED[kind] | changes)
  assert len(str(error.value)) < 500


def test_hostile_messages_are_refused(tmp_path):
  turn = dict(role='user', content='x')
  for prompt, reason in (
    ([turn, turn], '2 turns'),
    ([dict(role='user', content=[dict(type='video')])], 'a part of a message'),
    ([dict(role='user', content=None)], 'a part of a message'),
    ([1, 2], 'is a list, not text'),
    ([], '0 turns'),
  ):
    with pytest.raises(ValueError, match=reason):
      own(tmp_path, dict(prompt=prompt, answer=1))
