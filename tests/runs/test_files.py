"""JSON lines of any values, files that are torn, and digests."""

import enum

import numpy as np

from k15 import files


class _Color(enum.Enum):
  RED = 'red'


def test_records_hold_numpy_enums_and_any_text(tmp_path):
  path = tmp_path / 'records.jsonl'
  text = 'line\nbreak \u2028 \ud800 \x00'
  record = {'n': np.int32(3), 'color': _Color.RED, 'pair': (1, 2), 'text': text}
  files.append_jsonl(path, [record, record])
  plain = {'n': 3, 'color': 'red', 'pair': [1, 2], 'text': text}
  assert files.read_jsonl(path) == [plain, plain]


def test_a_json_file_that_is_missing_torn_or_no_object_is_empty(tmp_path):
  path = tmp_path / 'summary.json'
  assert files.read_json(path) == {}
  for text, content in (('{"a": 1', {}), ('[1]', {}), ('{"a": 1}', {'a': 1})):
    path.write_text(text)
    assert files.read_json(path) == content


def test_a_digest_is_of_the_content(tmp_path):
  a, b = tmp_path / 'a.jsonl', tmp_path / 'other' / 'a.jsonl'
  b.parent.mkdir()
  a.write_text('x')
  b.write_text('x')
  assert files.digest(a) == files.digest(b)
  assert files.digest(a)['name'] == 'a.jsonl'
  b.write_text('y')
  assert files.digest(a) != files.digest(b)
