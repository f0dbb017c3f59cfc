"""The system calls of the sandbox that Python's standard library lacks.

Runs inside the sandbox: it needs nothing but the standard library.  All of it
works without privileges: namespaces belong to the user namespace that the
process is in, seccomp and Landlock need no_new_privs alone.
"""

import ctypes
import os
import platform
import struct

NEW_MOUNT, NEW_PID = 0x00020000, 0x20000000  # of clone(2)
RDONLY, NOSUID, NODEV, BIND, REC = 0x1, 0x2, 0x4, 0x1000, 0x4000  # mount(2)
DETACH = 2  # of umount2(2)

_SECURE_BITS = 0x2F  # noroot, no_setuid_fixup, keep_caps off: all locked
_PDEATHSIG, _DUMPABLE, _SECCOMP, _CAPBSET_DROP = 1, 4, 22, 24
_SECUREBITS, _NO_NEW_PRIVS, _CAP_AMBIENT = 28, 38, 47

# What no program under judgement needs, by x86_64 and aarch64 number
# (None: the call does not exist there).  Above 335 only _NEW_CALLS are known.
_DENIED = {
  'ptrace': (101, 117), 'process_vm_readv': (310, 270),
  'process_vm_writev': (311, 271), 'kcmp': (312, 272),
  'bpf': (321, 280), 'userfaultfd': (323, 282), 'perf_event_open': (298, 241),
  'keyctl': (250, 219), 'add_key': (248, 217), 'request_key': (249, 218),
  'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41),
  'chroot': (161, 51), 'unshare': (272, 97), 'setns': (308, 268),
  'init_module': (175, 105), 'finit_module': (313, 273),
  'delete_module': (176, 106), 'kexec_load': (246, 104),
  'kexec_file_load': (320, 294), 'swapon': (167, 224), 'swapoff': (168, 225),
  'reboot': (169, 142), 'syslog': (103, 116), 'acct': (163, 89),
  'settimeofday': (164, 170), 'adjtimex': (159, 171),
  'clock_settime': (227, 112), 'clock_adjtime': (305, 266),
  'personality': (135, 92), 'quotactl': (179, 60), 'vhangup': (153, 58),
  'name_to_handle_at': (303, 264), 'open_by_handle_at': (304, 265),
  'memfd_create': (319, 279), 'fanotify_init': (300, 262),
  'sethostname': (170, 161), 'setdomainname': (171, 162),
  'shmget': (29, 194), 'semget': (64, 190), 'msgget': (68, 186),
  'mq_open': (240, 180), 'socket': (41, 198), 'connect': (42, 203),
  'bind': (49, 200), 'listen': (50, 201), 'mbind': (237, 235),
  'migrate_pages': (256, 238), 'move_pages': (279, 239),
  'inotify_init': (253, None), 'inotify_init1': (294, 26),
  'uselib': (134, None), 'ustat': (136, None), 'sysfs': (139, None),
  'modify_ldt': (154, None), '_sysctl': (156, None), 'iopl': (172, None),
  'ioperm': (173, None), 'nfsservctl': (180, 42), 'lookup_dcookie': (212, 18),
}  # fmt: skip
_SIGNALS = {
  'kill': (62, 129), 'tkill': (200, 130), 'tgkill': (234, 131),
  'rt_sigqueueinfo': (129, 138), 'rt_tgsigqueueinfo': (297, 240),
}  # fmt: skip
_FORKS = {'fork': (57, None), 'vfork': (58, None)}
_CLONE = (56, 220)
# close_range, openat2, faccessat2, epoll_pwait2, futex_waitv, fchmodat2
_NEW_CALLS = (436, 437, 439, 441, 449, 452)
_ARCHITECTURES = {
  'x86_64': (0, 0xC000003E, 334),
  'aarch64': (1, 0xC00000B7, 294),
}
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag
_THREAD = 0x00010000

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


def _instruction(code, k, jump_true=0, jump_false=0):
  return struct.pack('=HBBI', code, jump_true, jump_false, k)


def seccomp_filter(single_process: bool = False, pid: int = 0) -> bytes:
  """A BPF program: what the sandbox denies, and calls too new to be known.

  Args:
    single_process: also deny new processes (threads stay) and signals to any
      process but `pid`; for rungs without a pid namespace.
    pid: of the process that is going to install the filter.

  Raises:
    OSError: the machine's architecture is unknown here.
  """
  machine = platform.machine()
  if machine not in _ARCHITECTURES:
    raise OSError(f'no seccomp table for {machine}')
  column, architecture, last = _ARCHITECTURES[machine]
  lines = [
    _instruction(_LOAD, 4),
    _instruction(_EQUAL, architecture, 1, 0),
    _instruction(_RETURN, _KILL),
    _instruction(_LOAD, 0),
  ]

  def when_number(number, *then):
    if number is not None:
      skip = sum(len(t) for t in then) // 8
      lines.extend([_instruction(_EQUAL, number, 0, skip), *then])

  refuse = _instruction(_RETURN, _ERRNO | _EPERM)
  denied = {**_DENIED, **_FORKS} if single_process else _DENIED
  for numbers in denied.values():
    when_number(numbers[column], refuse)
  if single_process:
    for numbers in _SIGNALS.values():
      # An argument that is not the own pid is refused; 16 is its offset.
      own = _instruction(_EQUAL, pid, 0, 1)
      allow = _instruction(_RETURN, _ALLOW)
      when_number(numbers[column], _instruction(_LOAD, 16), own, allow, refuse)
  flags = _instruction(_LOAD, 16)  # The first argument of clone.
  allow = _instruction(_RETURN, _ALLOW)
  if single_process:
    test = _instruction(_ANY_BIT, _THREAD, 0, 1)
    when_number(_CLONE[column], flags, test, allow, refuse)
  else:
    test = _instruction(_ANY_BIT, _NAMESPACES, 1, 0)
    when_number(_CLONE[column], flags, test, allow, refuse)
  for number in _NEW_CALLS:
    when_number(number, allow)
  lines.append(_instruction(_GREATER, last, 0, 1))
  lines.append(_instruction(_RETURN, _ERRNO | _ENOSYS))  # clone3 too.
  lines.append(allow)
  return b''.join(lines)


def install_seccomp(program: bytes):
  """Installs a filter for good; needs forbid_new_privileges first."""
  buffer = ctypes.create_string_buffer(program, len(program))
  head = ctypes.create_string_buffer(
    struct.pack('@HP', len(program) // 8, ctypes.addressof(buffer))
  )
  prctl(_SECCOMP, 2, ctypes.addressof(head))


def landlock(readable: list[str], writable: list[str]):
  """Files below the given folders are all the process may open from now on.

  Raises:
    OSError: the kernel has no Landlock.
  """
  create, add_rule, restrict = 444, 445, 446
  everything, read = 0x1FFF, 0xD  # execute, read_file, read_dir
  rules = struct.pack('=Q', everything)
  ruleset = call('syscall', ctypes.c_long(create), rules, ctypes.c_size_t(8), 0)
  pairs = [(p, read) for p in readable] + [(p, everything) for p in writable]
  for path, access in pairs:
    folder = os.open(path, os.O_PATH)
    if not os.path.isdir(path):
      access &= 0x7  # execute, write_file, read_file
    rule = struct.pack('=Qi', access, folder)
    call('syscall', ctypes.c_long(add_rule), ruleset, 1, rule, 0)
    os.close(folder)
  call('syscall', ctypes.c_long(restrict), ruleset, 0)
  os.close(ruleset)
