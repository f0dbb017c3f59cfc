"""Entries are whole or gone, wherever a file was cut or spoilt."""

import pytest

from k15.checkpoints import segments as segments_lib
from k15.checkpoints.segments import Segments

ENTRIES = [b'a', b'\x00' * 5, b'third']
HEAD = 8  # bytes before each: length and checksum, 4 each


def write(folder, part, entries, **settings):
  segments = Segments(folder, **settings)
  for entry in entries:
    segments.append(part, entry)
    segments.sync()
  segments.close()


def read(folder, part):
  segments = Segments(folder)
  entries = segments.read(part)
  segments.close()
  return entries


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_a_file_torn_at_any_byte_keeps_what_is_whole_and_goes_on(tmp_path):
  write(tmp_path / 'whole', 3, ENTRIES)
  (path,) = (tmp_path / 'whole').iterdir()
  content = path.read_bytes()
  # 1 + 5 + 5 bytes, and three heads: entries end at 9, 22 and 35.
  assert len(content) == 35 and path.name == '00000003-0000.log'
  for size in range(35 + 1):
    folder = tmp_path / f'{size}'
    folder.mkdir()
    (folder / path.name).write_bytes(content[:size])
    whole = ENTRIES[: (size >= 9) + (size >= 22) + (size >= 35)]
    assert read(folder, 3) == whole
    write(folder, 3, [b'later'])
    assert read(folder, 3) == [*whole, b'later']


def test_no_flipped_bit_gets_through(tmp_path):
  write(tmp_path / 'whole', 0, ENTRIES)
  (path,) = (tmp_path / 'whole').iterdir()
  content = path.read_bytes()
  for byte in range(35):
    spoilt = bytearray(content)
    spoilt[byte] ^= 0x40
    whole = ENTRIES[: (byte >= 9) + (byte >= 22)]
    entries, end = segments_lib.entries_of(bytes(spoilt))
    assert entries == whole and end == (0, 9, 22)[len(whole)]
  # Zeros, as a power cut leaves them, are no entries of 0 bytes.
  assert segments_lib.entries_of(bytes(64)) == ([], 0)


def test_what_follows_a_spoilt_segment_is_deleted(tmp_path):
  write(tmp_path, 0, [b'one', b'two', b'three'], segment_bytes=1)
  assert len(names(tmp_path)) == 3
  (tmp_path / '00000000-0001.log').write_bytes(b'spoilt')
  assert read(tmp_path, 0) == [b'one']
  assert names(tmp_path) == ['00000000-0000.log', '00000000-0001.log']


def test_parts_are_deleted_before_and_since(tmp_path):
  segments = Segments(tmp_path)
  for part in range(5):
    segments.append(part, b'%d' % part)
  segments.drop(before=2)
  assert [segments.read(part) for part in range(5)] == [
    [], [], [b'2'], [b'3'], [b'4']
  ]  # fmt: skip
  segments.drop(since=3)  # The part that is being written among them.
  segments.append(3, b'new')
  assert [segments.read(part) for part in (2, 3, 4)] == [[b'2'], [b'new'], []]
  segments.close()


def test_an_entry_has_a_byte(tmp_path):
  segments = Segments(tmp_path)
  with pytest.raises(ValueError, match='0 bytes'):
    segments.append(0, b'')
  segments.close()
