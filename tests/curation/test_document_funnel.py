"""The funnel of documents: who goes at which step, and the command."""

import json

import pytest

from k15 import files
from k15.curation import clean_documents
from k15.curation import document_funnel
from k15.curation import text_quality
from k15.data.documents import Document

TEXT = 'the sum of 3 and 4 is 7 and the sum of 7 and 5 is 12, as we can see {}'
NEAR = 'the sum of 3 and 4 is 7 and the sum of 7 and 5 is 12, as you can see {}'


def _documents():
  texts = [
    TEXT.format('here'), 'short', TEXT.format('here') + '!',
    NEAR.format('here'), TEXT.replace('7', '8').format('here'),
    'quite another text which says nothing of numbers but has words',
  ]  # fmt: skip
  return [Document(t, 'ab'[i % 2], f'f, line {i}') for i, t in enumerate(texts)]


def _run(scores=None):
  return document_funnel.run(
    _documents(), text_quality.Rules(), 0.75, scores, 0.5
  )


def test_who_goes_where():
  kept, steps = _run()
  assert [s.name for s in steps] == list(document_funnel.STEPS)
  gone = {s.name: [r.problem.id for r in s.removals] for s in steps}
  assert gone == {
    'rules': ['f, line 1'],
    'exact duplicate': ['f, line 2'],  # But for its end.
    'near duplicate': ['f, line 3'],
    'quality score': [],
  }
  # Other numbers are another text.
  assert [d.where for d in kept] == ['f, line 0', 'f, line 4', 'f, line 5']
  assert steps[2].removals[0].other.id == 'f, line 0'
  assert steps[3].note == 'left out: no score'


def test_the_score_of_a_document_stays_with_it():
  kept, steps = _run([0.9, 0.0, 0.0, 0.0, 0.2, 0.5])
  assert [d.where for d in kept] == ['f, line 0', 'f, line 5']
  [removal] = steps[-1].removals
  assert (removal.reason, removal.detail) == ('score below 0.5', '0.200')


def test_counts_of_domains():
  kept, _ = _run()
  assert document_funnel.domain_counts(_documents(), kept) == {
    'a': [3, 2],
    'b': [3, 1],
  }


def _write(path, texts, **more):
  rows = [dict(text=t, domain='d', **more) for t in texts]
  path.write_text('\n'.join(map(json.dumps, rows)))
  return str(path)


def test_the_command(tmp_path, capsys):
  words = ('one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight')
  good = [
    f'{a} and {b} is what we sum here with care' for a in words for b in words
  ]
  bad = [
    f'buy {a} now or {b} later for less money here'
    for a in words
    for b in words
  ]
  raw = _write(tmp_path / 'raw.jsonl', [*good[::7], *bad[::9], 'short'])
  sides = [
    f'--{name}={_write(tmp_path / f"{name}.jsonl", texts)}'
    for name, texts in (('good', good[1::2]), ('bad', bad[1::2]))
  ]
  out = tmp_path / 'out'
  clean_documents.main([raw, f'--out={out}', *sides, '--similarity=1'])
  kept = files.read_jsonl(out / 'documents.jsonl')
  assert [row['text'] for row in kept] == good[::7]
  assert kept[0].keys() == {'text', 'domain'}
  removed = files.read_jsonl(out / 'removed.jsonl')
  assert [row['step'] for row in removed] == ['rules'] + [
    'quality score'
  ] * len(bad[::9])
  content = files.read_json(out / 'funnel.json')
  assert content['classifier']['unseen_bad_right'] == 1.0
  assert content['tags'] == dict(d=[len(kept) + len(removed), len(kept)])
  assert len(content['steps'][3]['examples']) == 3
  printed = capsys.readouterr().out
  assert (out / 'funnel.txt').read_text() in printed
  assert f'd: {len(kept)} of {len(kept) + len(removed)} stay' in printed


def test_scores_of_a_field(tmp_path, capsys):
  raw = _write(tmp_path / 'raw.jsonl', [TEXT.format('x')], quality=0.4)
  clean_documents.main([raw, f'--out={tmp_path}', '--score=quality'])
  assert files.read_jsonl(tmp_path / 'documents.jsonl') == []
  with pytest.raises(SystemExit):
    clean_documents.main([raw, f'--out={tmp_path}', '--score=stars'])
  assert "raw.jsonl, line 1: 'stars' is None" in capsys.readouterr().err
  with pytest.raises(SystemExit):
    clean_documents.main([raw, f'--out={tmp_path}', '--good=a'])
