"""The system calls of the sandbox that Python's standard library lacks.

Runs inside the sandbox: it needs nothing but the standard library.  All of it
works without privileges: namespaces belong to the user namespace that the
process is in, seccomp and Landlock need no_new_privs alone.
"""

import ctypes
import os
import struct

NEW_MOUNT, NEW_PID = 0x00020000, 0x20000000  # of clone(2)
RDONLY, NOSUID, NODEV, BIND, REC = 0x1, 0x2, 0x4, 0x1000, 0x4000  # mount(2)
DETACH = 2  # of umount2(2)

_SECURE_BITS = 0x2F  # noroot, no_setuid_fixup, keep_caps off: all locked
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _SUBREAPER = 1, 4, 24, 36
_SECUREBITS, _NO_NEW_PRIVS, _CAP_AMBIENT = 28, 38, 47

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *args: object) -> int:
  """Calls a function of libc that returns -1 on failure.

  Raises:
    OSError: with the call's name.
  """
  result = getattr(_libc, name)(*args)
  if result == -1:
    number = ctypes.get_errno()
    raise OSError(number, f'{name}: {os.strerror(number)}')
  return result


def prctl(option: int, *args: int) -> int:
  """prctl(2)."""
  values = [ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)[:4]]
  return call('prctl', option, *values)


def mount(source: str, target: str, kind: str, flags: int, data: str = ''):
  """mount(2)."""
  texts = [t.encode() for t in (source, target, kind, data)]
  call('mount', *texts[:3], ctypes.c_ulong(flags), texts[3])


def bind_read_only(source: str, target: str, keep_devices: bool = False):
  """Shows a tree at another place, read-only, with all mounts below it."""
  mount(source, target, '', BIND | REC)
  flags = RDONLY | NOSUID | (0 if keep_devices else NODEV)
  attributes = struct.pack('=QQQQ', flags, 0, 0, 0)
  at_cwd, recursive, mount_setattr = -100, 0x8000, 442
  call(
    'syscall', ctypes.c_long(mount_setattr), at_cwd, target.encode(),
    recursive, attributes, ctypes.c_size_t(len(attributes)),
  )  # fmt: skip


def die_with_parent():
  """SIGKILL when the parent ends."""
  prctl(_PDEATHSIG, 9)


def adopt_orphans():
  """Becomes the parent of descendants whose parent has ended."""
  prctl(_SUBREAPER, 1)


def forbid_new_privileges():
  """No later exec can gain any; also closed to debuggers of the same user."""
  prctl(_NO_NEW_PRIVS, 1)
  prctl(_DUMPABLE, 0)


def drop_bounding_set():
  """An exec of root finds no capability to gain."""
  prctl(_SECUREBITS, _SECURE_BITS)
  for capability in range(64):
    try:
      prctl(_CAPBSET_DROP, capability)
    except OSError:  # Past the last one.
      break
  prctl(_CAP_AMBIENT, 4)  # Clears the ambient set.


def drop_capabilities():
  """Gives up every capability in the process's user namespace."""
  version_3 = struct.pack('=Ii', 0x20080522, 0)
  call('capset', version_3, bytes(24))


def landlock(readable: list[str], writable: list[str]):
  """Files below the given folders are all the process may open from now on.

  Raises:
    OSError: the kernel has no Landlock.
  """
  create, add_rule, restrict = 444, 445, 446
  size = ctypes.c_size_t
  version = call('syscall', ctypes.c_long(create), None, size(0), 1)
  # Links across folders, truncation and commands to devices came later.
  everything = 0x1FFF | 0x2000 * (version > 1) | 0x4000 * (version > 2)
  everything |= 0x8000 * (version > 4)
  read = 0xD  # execute, read_file, read_dir
  network, scopes = 3 * (version > 3), 3 * (version > 5)  # All there are.
  rules = struct.pack('=QQQ', everything, network, scopes)
  known = 8 if version < 4 else 16 if version < 6 else 24
  ruleset = call('syscall', ctypes.c_long(create), rules, size(known), 0)
  pairs = [(p, read) for p in readable] + [(p, everything) for p in writable]
  for path, access in pairs:
    folder = os.open(path, os.O_PATH)
    if not os.path.isdir(path):
      access &= 0xC007  # What files have: no folders, links, devices.
    rule = struct.pack('=Qi', access, folder)
    call('syscall', ctypes.c_long(add_rule), ruleset, 1, rule, 0)
    os.close(folder)
  call('syscall', ctypes.c_long(restrict), ruleset, 0)
  os.close(ruleset)
