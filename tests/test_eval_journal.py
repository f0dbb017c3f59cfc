"""What is on disk is not asked again, unless it is of another question."""

from k15 import eval_journal

KEY = ('s', 'p', 0)


def _journal(path, writes=True):
  return eval_journal.Journal(path, writes)


def test_a_response_and_then_its_verdict(tmp_path):
  path = tmp_path / 'journal.jsonl'
  journal = _journal(path)
  assert journal.response(KEY, 'q') is None
  journal.add_response(KEY, asked='q', response='a', length=1, stop='eos')
  assert _journal(path).response(KEY, 'q')['response'] == 'a'
  assert _journal(path).verdict(KEY, 'q', 'j') is None
  journal.add_verdict(KEY, judge='j', verdict='wrong', reason='because')
  entry = _journal(path).verdict(KEY, 'q', 'j')
  assert (entry['verdict'], entry['reason']) == ('wrong', 'because')


def test_another_prompt_or_judge_is_another_question(tmp_path):
  path = tmp_path / 'journal.jsonl'
  journal = _journal(path)
  journal.add_response(KEY, asked='q', response='a', length=1, stop='eos')
  journal.add_verdict(KEY, judge='j', verdict='correct', reason='')
  assert journal.response(KEY, 'q?') is None
  assert journal.verdict(KEY, 'q', 'k') is None
  # A new response has no verdict yet.
  journal.add_response(KEY, asked='q?', response='b', length=2, stop='eos')
  assert _journal(path).verdict(KEY, 'q?', 'j') is None


def test_torn_lines_cost_no_others(tmp_path):
  path = tmp_path / 'journal.jsonl'
  values = dict(asked='q', response='a', length=1, stop='eos')
  _journal(path).add_response(KEY, **values)
  whole = path.read_bytes()
  for cut in range(1, len(whole)):
    path.write_bytes(whole + whole[:cut])
    journal = _journal(path)
    journal.add_response(('s', 'p', 1), **values)
    assert _journal(path).response(KEY, 'q')
    assert _journal(path).response(('s', 'p', 1), 'q')


def test_one_process_writes(tmp_path):
  path = tmp_path / 'journal.jsonl'
  other = _journal(path, writes=False)
  other.add_response(KEY, asked='q', response='a', length=1, stop='eos')
  assert other.response(KEY, 'q') and not path.exists()
