"""Which system calls a program under judgement may make.

Runs inside the sandbox: it needs nothing but the standard library.
"""

import ctypes
import platform
import struct

from k15.rewards.sandbox.inside import kernel

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
# Where there is no namespace around it: what reaches other processes of the
# same user, and what Landlock does not watch.
_DENIED_ALONE = {
  'fork': (57, None), 'vfork': (58, None), 'setpriority': (141, 140),
  'ioprio_set': (251, 30), 'sched_setaffinity': (203, 122),
  'sched_setscheduler': (144, 119), 'sched_setparam': (142, 118),
  'sched_setattr': (314, 274), 'truncate': (76, 45), 'chmod': (90, None),
  'fchmod': (91, 52), 'fchmodat': (268, 53), 'chown': (92, None),
  'fchown': (93, 55), 'lchown': (94, None), 'fchownat': (260, 54),
  'setxattr': (188, 5), 'lsetxattr': (189, 6), 'fsetxattr': (190, 7),
  'removexattr': (197, 14), 'lremovexattr': (198, 15),
  'fremovexattr': (199, 16), 'utime': (132, None), 'utimes': (235, None),
  'utimensat': (280, 88), 'futimesat': (261, None),
}  # fmt: skip
_REFUSED_ARGUMENTS = (  # numbers, which argument, its values
  ((157, 167), 0, (1,)),  # prctl: outliving the server
  ((72, 25), 1, (8, 10, 15)),  # fcntl: signals to others by way of a file
  ((16, 29), 1, (0x8901, 0x8902)),  # ioctl: the same
)
_PRLIMIT = (302, 261)
_SIGNALS = {
  'kill': (62, 129), 'tkill': (200, 130), 'tgkill': (234, 131),
  'rt_sigqueueinfo': (129, 138), 'rt_tgsigqueueinfo': (297, 240),
}  # fmt: skip
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
_SET_FILTER = 22  # of prctl(2)


def _instruction(code, k, jump_true=0, jump_false=0):
  return struct.pack('=HBBI', code, jump_true, jump_false, k)


_ALLOWED = _instruction(_RETURN, _ALLOW)
_REFUSED = _instruction(_RETURN, _ERRNO | _EPERM)


def make_filter(single_process: bool = False, pid: int = 0) -> bytes:
  """A BPF program: what the sandbox denies, and calls too new to be known.

  Args:
    single_process: also deny new processes (threads stay) and whatever reaches
      any process but `pid`; for rungs without a pid namespace.
    pid: of the process that is going to install the filter.

  Raises:
    OSError: the machine's architecture is unknown here.
  """
  machine = platform.machine()
  if machine not in _ARCHITECTURES:
    raise OSError(f'no seccomp table for {machine}')
  column, architecture, last = _ARCHITECTURES[machine]
  denied = {**_DENIED, **_DENIED_ALONE} if single_process else _DENIED
  rules = [(numbers, _REFUSED) for numbers in denied.values()]
  if single_process:
    rules += [(n, _only(0, pid)) for n in _SIGNALS.values()]
    rules += [(n, _all_but(i, *bad)) for n, i, bad in _REFUSED_ARGUMENTS]
    rules += [(_PRLIMIT, _only(0, 0, pid)), (_CLONE, _IF_THREAD)]
  else:
    rules.append((_CLONE, _UNLESS_NAMESPACE))
  rules += [((number, number), _ALLOWED) for number in _NEW_CALLS]
  lines = [
    _instruction(_LOAD, 4),
    _instruction(_EQUAL, architecture, 1, 0),
    _instruction(_RETURN, _KILL),
    _instruction(_LOAD, 0),
  ]
  for numbers, then in rules:
    if numbers[column] is not None:
      skip = len(then) // 8
      lines += [_instruction(_EQUAL, numbers[column], 0, skip), then]
  lines.append(_instruction(_GREATER, last, 0, 1))
  lines.append(_instruction(_RETURN, _ERRNO | _ENOSYS))  # clone3 too.
  lines.append(_ALLOWED)
  return b''.join(lines)


def _only(index, *values):
  """Allowed with one of the values as an argument, refused otherwise."""
  tests = [_instruction(_EQUAL, v, 0, 1) + _ALLOWED for v in values]
  return b''.join([_argument(index), *tests, _REFUSED])


def _all_but(index, *values):
  tests = [_instruction(_EQUAL, v, 0, 1) + _REFUSED for v in values]
  return b''.join([_argument(index), *tests, _ALLOWED])


def _argument(index):
  """Loads its lower half; pids, commands and flags have no other."""
  return _instruction(_LOAD, 16 + 8 * index)


_IF_THREAD = (
  _argument(0) + _instruction(_ANY_BIT, _THREAD, 0, 1) + _ALLOWED + _REFUSED
)
_UNLESS_NAMESPACE = (
  _argument(0) + _instruction(_ANY_BIT, _NAMESPACES, 0, 1) + _REFUSED + _ALLOWED
)


def install(program: bytes):
  """Installs a filter for good; needs kernel.forbid_new_privileges first."""
  buffer = ctypes.create_string_buffer(program, len(program))
  head = ctypes.create_string_buffer(
    struct.pack('@HP', len(program) // 8, ctypes.addressof(buffer))
  )
  kernel.prctl(_SET_FILTER, 2, ctypes.addressof(head))
