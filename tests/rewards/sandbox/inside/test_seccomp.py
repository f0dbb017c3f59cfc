"""The filter, run by a small interpreter of the instructions it consists of."""

import platform
import struct

import pytest

from k15.rewards.sandbox.inside import seccomp

X86 = 0xC000003E
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050001, 0x00050026


def answer(program, number, *arguments, architecture=X86):
  """What the kernel would do with a call, by its documentation of BPF."""
  padded = [*arguments, *[0] * 6][:6]
  data = struct.pack('=IIQ6Q', number, architecture, 0, *padded)
  lines = list(struct.iter_unpack('=HBBI', program))
  at, loaded = 0, 0
  while True:
    code, if_true, if_false, k = lines[at]
    at += 1
    if code == 0x20:
      (loaded,) = struct.unpack_from('=I', data, k)
    elif code == 0x06:
      return k
    else:
      holds = {0x15: loaded == k, 0x25: loaded > k, 0x45: bool(loaded & k)}
      at += if_true if holds[code] else if_false


@pytest.fixture
def x86(monkeypatch):
  monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')


def test_ordinary_calls_pass_and_dangerous_ones_do_not(x86):
  program = seccomp.make_filter()
  for number in (0, 1, 2, 9, 57, 59, 60, 62, 231, 257, 439):
    assert answer(program, number) == ALLOW  # read ... faccessat2
  for number in (101, 165, 272, 308, 321, 323, 41, 161, 319):
    assert answer(program, number) == EPERM  # ptrace, mount, unshare ...
  for number in (425, 435, 442, 999):
    assert answer(program, number) == ENOSYS  # io_uring, clone3 ...
  assert answer(program, 0, architecture=0x40000003) == KILL  # 32 bits
  assert answer(program, 0x40000000 | 101) == ENOSYS  # the x32 table


def test_a_clone_must_not_make_namespaces(x86):
  program = seccomp.make_filter()
  assert answer(program, 56, 17) == ALLOW
  assert answer(program, 56, 0x10000000 | 17) == EPERM  # a user namespace
  assert answer(program, 56, 0x20000000) == EPERM  # a pid namespace


def test_alone_it_may_have_threads_and_reach_itself(x86):
  program = seccomp.make_filter(True, 77)
  assert answer(program, 57) == EPERM  # fork
  assert answer(program, 56, 17) == EPERM
  assert answer(program, 56, 0x00010000) == ALLOW  # a thread
  assert answer(program, 62, 77, 9) == ALLOW  # kill
  for pid in (1, 78, 0, 0xFFFFFFFF):
    assert answer(program, 62, pid, 9) == EPERM
  assert answer(program, 72, 3, 8, 1) == EPERM  # fcntl F_SETOWN
  assert answer(program, 72, 3, 3) == ALLOW
  assert answer(program, 16, 3, 0x8901) == EPERM  # ioctl FIOSETOWN
  assert answer(program, 157, 1) == EPERM  # prctl PR_SET_PDEATHSIG
  assert answer(program, 157, 15) == ALLOW
  assert answer(program, 302, 0) == answer(program, 302, 77) == ALLOW
  assert answer(program, 302, 1) == EPERM  # prlimit of another
  assert answer(program, 76) == answer(program, 90) == EPERM


def test_arm_has_its_own_numbers(monkeypatch):
  monkeypatch.setattr(platform, 'machine', lambda: 'aarch64')
  program, arm = seccomp.make_filter(), 0xC00000B7
  assert answer(program, 117, architecture=arm) == EPERM  # ptrace
  assert answer(program, 63, architecture=arm) == ALLOW  # read
  assert answer(program, 117) == KILL


def test_an_unknown_machine_is_refused(monkeypatch):
  monkeypatch.setattr(platform, 'machine', lambda: 'vax')
  with pytest.raises(OSError, match='no seccomp table for vax'):
    seccomp.make_filter()
