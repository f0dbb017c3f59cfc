"""Pictures in the pages of runs: their pixels, beside what was said of them."""

import base64
import io
import json
import re

import numpy as np
import pytest
import run_dirs
from PIL import Image

from k15 import files
from k15.report import comparison_page
from k15.report import evaluations
from k15.report import pictures
from k15.report import run_page
from k15.vision import store as store_lib
from tests.report import test_run_page

HOSTILE = test_run_page.HOSTILE
SMALL = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(20, 30, 3)
PALE = np.full((8, 8, 3), 250, np.uint8)
ASKED = ('count-2', 'count-1', 'text-1', 'count-3')  # not in order


def answer(name, right, digest='', text=''):
  """A record of an evaluation, with a picture if it has a digest."""
  seen = dict(images=[digest]) if digest else {}
  return run_dirs.response(0, right, text=text) | seen | dict(
    problem_id=name, domain=name.partition('-')[0], prompt=f'{name}?{text}',
    response=f'{name} is {right}{text}',
  )  # fmt: skip


def write(workdir, before='0000', after='1010', text='', every=True):
  """A run that sees: right or wrong of ASKED, and a text, always right."""
  run_dirs.write(workdir, rewards=(0.4, 0.6), lengths=(9, 9), stage='sft')
  refs = store_lib.write(
    workdir / 'images', [(SMALL, f'drawn {text}'), (PALE, 'drawn')]
  )
  digest = {'count': refs[0].digest, 'text': refs[1].digest}
  config = dict(seed=0, stages=['sft', 'rl'], rl=dict(iterations=4))
  (workdir / 'config.json').write_text(json.dumps(config))
  for stage, verdicts in (('sft', before), ('rl', after)):
    records = [
      answer(name, int(v), digest[name.partition('-')[0]], text)
      for name, v in zip(ASKED, verdicts, strict=False)
    ]
    if records:
      records.append(answer('plain-1', 1, text=text))
    files.replace_jsonl(workdir / f'evaluation_{stage}.jsonl', records)
  points = dict(accuracy_pictures=0.25, accuracy_texts=1, agreement=0.5)
  points |= dict(pictures_count=0, pictures_text=1)
  metrics = [
    dict(stage='rl', step=i, time=60.0 * i)
    | {f'evaluation/{k}': v for k, v in points.items() if every and i == 1}
    for i in range(4)
  ]
  files.replace_jsonl(workdir / 'metrics.jsonl', metrics)
  shares = (('sft', 0.25), ('rl', 0.75)) if after else (('sft', 0.25),)
  summary = {
    f'agreement_of_pairs_after_{stage}': dict(
      all=dict(pairs=4, agreement=dict(value=v), agreement_given_text=None)
    )
    for stage, v in shares
  }
  (workdir / 'summary.json').write_text(json.dumps(summary))
  return workdir


def read(workdir):
  run_page.write_report(workdir)
  return (workdir / 'report.html').read_text()


def shown(page):
  """Pixels of each picture of a problem on a page."""
  data = re.findall(r'<img alt="\d+ x [^>]*base64,([^"]*)"', page)
  return [np.asarray(Image.open(io.BytesIO(base64.b64decode(d)))) for d in data]


def part(page, title):
  """A section of a page."""
  return page.partition(f'<h2>{title}</h2>')[2].partition('</section>')[0]


def test_a_picture_has_its_pixels_some_whole_times_as_large(tmp_path):
  (found, *_) = shown(part(read(write(tmp_path / 'run')), 'Pictures'))
  # 160 / 20 = 8 times as high.
  assert found.shape == (160, 240, 3)
  np.testing.assert_array_equal(found[::8, ::8], SMALL)
  np.testing.assert_array_equal(found[7::8, 7::8], SMALL)


@pytest.mark.parametrize(
  ('size', 'expected'),
  [
    ((161, 10), (160, 10)), ((1600, 800), (160, 80)), ((10, 2000), (3, 640)),
    ((1, 2000), (1, 640)), ((90, 90), (90, 90)), ((10, 100), (60, 600)),
  ],
)  # fmt: skip
def test_no_picture_is_larger_than_its_room(size, expected):
  height, width = expected
  image = pictures.scaled(np.full((*size, 3), 7, np.uint8))
  assert image.size == (width, height) and (np.asarray(image) == 7).all()


def test_answers_before_rl_stand_beside_those_after(tmp_path):
  section = part(read(write(tmp_path / 'run')), 'Pictures')
  samples = section.split('<div class="sample">')[1:]
  # The first of each domain, then the second; texts are no part of it.
  names = [re.search(r'<small>(\S+)', sample)[1] for sample in samples]
  assert names == ['count-1', 'text-1', 'count-2', 'count-3']
  verdicts = [re.findall('class="badge (right|wrong)"', s) for s in samples]
  assert verdicts == [
    ['wrong', 'wrong'], ['wrong', 'right'], ['wrong', 'right'],
    ['wrong', 'wrong'],
  ]  # fmt: skip
  before, after = samples[1].index('after SFT'), samples[1].index('after RL')
  assert samples[1].index('text-1 is 0') > before
  assert samples[1].index('text-1 is 1') > after > before
  assert all('answer <b>1</b>' in sample for sample in samples)
  assert [image.shape for image in shown(section)] == [
    (160, 240, 3), (160, 160, 3), (160, 240, 3), (160, 240, 3)
  ]  # fmt: skip


def test_twelve_problems_at_most_whatever_was_right():
  records = [
    answer(f'{domain}-{i}', i == 9, 'd') for domain in 'ba' for i in range(9)
  ]
  side = {record['problem_id']: record for record in records}
  assert pictures._chosen([side, side]) == [
    f'{domain}-{i}' for i in range(6) for domain in 'ab'
  ]
  # What one side alone answered has nothing beside it.
  assert pictures._chosen([side, {'a-8': side['a-8']}]) == ['a-8']


def test_the_figures_are_there(tmp_path):
  section = part(read(write(tmp_path / 'run')), 'Pictures')
  assert '<h3>Texts and pictures</h3>' in section
  assert '<h3>Pictures by domain</h3>' in section


def test_the_curve_begins_before_rl_and_ends_after_it(tmp_path):
  workdir = write(tmp_path / 'run')
  scores = {
    stage: files.read_jsonl(workdir / f'evaluation_{stage}.jsonl')
    for stage in ('sft', 'rl')
  }
  x, table = pictures._history(
    scores,
    files.read_json(workdir / 'summary.json'),
    files.read_jsonl(workdir / 'metrics.jsonl'),
  )
  # Step 1 leaves the policy of two iterations.
  assert x.tolist() == [0, 2, 4]
  assert table['accuracy_pictures'].tolist() == [0, 0.25, 0.5]
  assert table['accuracy_texts'].tolist() == [1, 1, 1]
  assert table['agreement'].tolist() == [0.25, 0.5, 0.75]
  np.testing.assert_allclose(table['pictures_count'], [0, 0, 1 / 3])


def test_a_run_on_its_way_shows_what_it_has(tmp_path):
  page = read(write(tmp_path / 'run', after='', every=False))
  section = part(page, 'Pictures')
  assert 'after SFT' in section and 'after RL' not in section
  assert '<h3>Texts and pictures</h3>' not in section  # A point is no curve.
  assert '25.0 → … %' in page


def test_pictures_stand_beside_all_prompts(tmp_path):
  workdir = write(tmp_path / 'run')
  (digest, *_) = store_lib.ImageStore(workdir / 'images').refs
  trained = answer('count-7', 1, digest) | dict(stage='rl', iteration=0)
  files.append_jsonl(workdir / 'trajectories.jsonl', [trained])
  page = read(workdir)
  assert len(shown(part(page, 'Responses from training'))) == 1
  assert len(shown(part(page, 'Responses to held-out problems'))) == 4


def test_hostile_text_stays_text_and_opens_nothing(tmp_path):
  workdir = write(tmp_path / 'run', text=HOSTILE)
  outside = tmp_path / 'secret.png'
  Image.fromarray(PALE).save(outside)
  records = files.read_jsonl(workdir / 'evaluation_rl.jsonl')
  names = [str(outside), '../secret.png', HOSTILE, 7, ['x'], None]
  for record in records[:4]:
    record['images'] = [*record['images'], *names]
  for stage in ('sft', 'rl'):
    files.replace_jsonl(workdir / f'evaluation_{stage}.jsonl', records)
  page = read(workdir)
  tags = test_run_page.Tags(page)
  assert 'script' not in tags.names
  assert not any(name.startswith('on') for _, name, _ in tags.attributes)
  assert 'alert(1)' in ''.join(tags.texts) and '</pre><script>' not in page
  links = [v for _, n, v in tags.attributes if n in ('src', 'href', 'srcset')]
  assert all(v.startswith('data:image/png;base64,') for v in links)
  section = part(page, 'Pictures')
  assert section.count('no picture ') == 4 * len(names)
  assert len(shown(section)) == 4


def test_a_picture_that_is_lost_has_a_place(tmp_path):
  workdir = write(tmp_path / 'run')
  (workdir / 'images' / 'pixels.bin').unlink()
  section = part(read(workdir), 'Pictures')
  assert section.count('in the run</span>') == 4 and not shown(section)
  assert 'count-1 is 0' in section


def test_the_page_of_a_text_run_is_what_it_was(tmp_path, monkeypatch):
  """Byte by byte that of the functions that know no pictures."""
  test_run_page.write_run(tmp_path, iterations=3)
  page = read(tmp_path)
  store_lib.write(tmp_path / 'images', [(SMALL, 'of nobody')])
  assert read(tmp_path) == page
  monkeypatch.setattr(pictures, 'sections', lambda *args: [])
  monkeypatch.setattr(
    pictures, 'sample', lambda stores, *args: run_page.markup.sample(*args)
  )
  assert read(tmp_path) == page
  for trace in ('pixelated', 'dashed', '<h2>Pictures', 'Agreement'):
    assert trace not in page


def test_runs_are_compared_by_what_they_see(tmp_path):
  paths = [write(tmp_path / f'{i}', after=v) for i, v in enumerate(('1', '11'))]
  for i, path in enumerate(paths):
    config = json.loads((path / 'config.json').read_text())
    config['loss'] = dict(tau=i)
    (path / 'config.json').write_text(json.dumps(config))
  out = tmp_path / 'page.html'
  comparison_page.write_comparison(paths, out)
  page = out.read_text()
  final, runs = part(page, 'At the end'), page.partition('All 2 runs')[2]
  for name in ('texts', 'pictures', 'text and picture agree'):
    assert f'<th>{name},\u00a0%</th>' in final
    assert f'<th>{name},\u00a0%</th>' in runs
  assert '<td>100.0</td><td>75.0</td></tr>' in runs  # pictures, agreement
  assert 'Agreement of a text and its picture' in page
  assert shown(part(page, 'Responses side by side'))


def test_two_evaluations_show_the_pictures_of_what_was_won(tmp_path, capsys):
  workdir = write(tmp_path / 'run')
  sides = [str(workdir / f'evaluation_{s}.jsonl') for s in ('sft', 'rl')]
  out = tmp_path / 'compare.html'
  evaluations.main([*sides, f'--html={out}'])
  assert '2 won' in capsys.readouterr().out
  assert [image.shape for image in shown(out.read_text())] == [
    (160, 240, 3), (160, 160, 3)
  ]  # fmt: skip
