"""What is on disk is not drawn again, unless it is another response."""

import dataclasses
import json

import numpy as np
import pytest

from k15 import files
from k15.data import conversations
from k15.data_types import Problem, StopReason
from k15.generation import asks
from k15.generation.asks import Ask
from k15.generation.asks import Written
from k15.generation.journal import Journal
from k15.rewards.verdict import Verdict

ASK = Ask(Problem('p', '1+1?', '2'), '1+1?\n', 7, 0, 5, 1.0, 'k', 'j')
ANSWER = Written('#### 2', StopReason.EOS, 3, np.array([4, 5, 6], np.int32))


def test_a_response_and_then_its_verdict(tmp_path):
  path = tmp_path / 'new' / 'journal.jsonl'
  journal = Journal(path)
  assert journal.response(ASK) is None and journal.verdict(ASK) is None
  journal.add_response(ASK, ANSWER)
  found = Journal(path).response(ASK)
  assert (found.text, found.stop, found.length) == ('#### 2', StopReason.EOS, 3)
  assert Journal(path).verdict(ASK) is None
  parts = dict(accuracy=1.0, format=0.0)
  journal.add_verdict(ASK, Verdict('correct', 'so', reward=0.5, parts=parts))
  assert Journal(path).verdict(ASK) == dict(
    reward=0.5, accuracy=1.0, verdict='correct', reason='so'
  )


def test_another_key_sample_or_judge_is_another(tmp_path):
  journal = Journal(tmp_path / 'journal.jsonl')
  journal.add_response(ASK, ANSWER)
  journal.add_verdict(ASK, Verdict('correct'))
  for other in (dict(key='l'), dict(sample=1)):
    ask = dataclasses.replace(ASK, **other)
    assert journal.response(ask) is None and journal.verdict(ask) is None
  # Another reference: the response is there, its verdict is not.
  mended = dataclasses.replace(ASK, judge='k')
  assert journal.response(mended) and journal.verdict(mended) is None


def test_the_first_response_and_the_last_verdict_count(tmp_path):
  path = tmp_path / 'journal.jsonl'
  journal = Journal(path)
  for text, kind in (('a', 'correct'), ('b', 'wrong')):
    journal.add_response(ASK, dataclasses.replace(ANSWER, text=text))
    journal.add_verdict(ASK, Verdict(kind))
  for found in (journal, Journal(path)):
    assert found.response(ASK).text == 'a'
    assert found.verdict(ASK)['verdict'] == 'wrong'


def test_torn_lines_cost_no_others(tmp_path):
  path = tmp_path / 'journal.jsonl'
  Journal(path).add_response(ASK, ANSWER)
  whole = path.read_bytes()
  next_one = dataclasses.replace(ASK, sample=1)
  for cut in range(1, len(whole)):
    path.write_bytes(whole + whole[:cut])
    Journal(path).add_response(next_one, ANSWER)
    assert Journal(path).response(ASK) and Journal(path).response(next_one)


def test_one_process_writes(tmp_path):
  path = tmp_path / 'journal.jsonl'
  for other in (Journal(path, writes=False), Journal()):
    other.add_response(ASK, ANSWER)
    assert other.response(ASK) and not path.exists()


def test_tokens_are_kept_where_they_are_wanted(tmp_path):
  for keeps in (False, True):
    path = tmp_path / f'{keeps}.jsonl'
    Journal(path, keeps_tokens=keeps).add_response(ASK, ANSWER)
    found = Journal(path, keeps_tokens=keeps).response(ASK)
    assert ('tokens' in files.read_jsonl(path)[0]) == keeps
    if keeps:
      np.testing.assert_array_equal(found.tokens, ANSWER.tokens)
      assert found.tokens.dtype == np.int32
    else:
      assert found.tokens is None


@pytest.mark.parametrize(
  'line',
  [
    # Of evaluations, of long2short's responses and of long-CoT.
    dict(set='s', problem_id='p', sample=0, asked='q', response='a'),
    dict(model='', prompt='q', problem_id='p', sample=0, tokens=[1]),
    dict(call=0, of=2, problem_id='p', sample=0, response='a'),
  ],
)
def test_files_without_keys_are_refused_with_what_to_do(tmp_path, line):
  path = tmp_path / 'journal.jsonl'
  path.write_text(json.dumps(line) + '\n')
  with pytest.raises(
    conversations.DataError, match='record 1 .* move the file away'
  ):
    Journal(path)
  assert json.loads(path.read_text()) == line


def test_files_of_curation_have_keys_and_are_read(tmp_path):
  path = tmp_path / 'samples.jsonl'
  line = dict(key='k', sample=0, problem_id='p', tokens=3, text='a')
  verdict = dict(key='k', sample=0, judge='j', accuracy=1.0, verdict='correct')
  files.append_jsonl(path, [line | dict(stop='eos'), verdict])
  journal = Journal(path)
  assert journal.response(ASK).text == 'a'
  assert journal.verdict(ASK)['accuracy'] == 1
  # What does not say how it stopped is drawn again.
  files.append_jsonl(path, [line | dict(sample=1)])
  assert Journal(path).response(dataclasses.replace(ASK, sample=1)) is None


def test_keys_hold_all_that_decides_a_response():
  facts = dict(model='m', max_length=5, temperature=1.0, seed=0)

  def key(tokens=(1, 2), group_id=7, answer='2', **more):
    problem = Problem('p', '1+1?', answer)
    (ask,) = asks.of_problem(problem, 'q', tokens, group_id, [0], facts | more)
    return ask.key

  others = [
    key(tokens=(1, 3)), key(group_id=8), key(model='n'), key(seed=1),
    key(temperature=0.9), key(max_length=6), key(top_p=0.9),
  ]  # fmt: skip
  assert len({key(), *others}) == 8
  # The reference does not decide what is written.
  assert key(answer='3') == key()
