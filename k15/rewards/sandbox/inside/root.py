"""The file system of the rung 'namespaces', put together from mounts.

Needs nothing but the standard library.
"""

import contextlib
import os

from k15.rewards.sandbox.inside import kernel
from k15.rewards.sandbox.inside import program

# Where a new root is put together: a folder above nothing that it shows.
_MOUNT_POINTS = ('/mnt', '/media', '/srv', '/opt', '/var/tmp', '/tmp')
_DEVICES = ('null', 'zero', 'full', 'random', 'urandom')
_LINKS = {
  '/dev/shm': '/tmp',
  '/dev/stdin': 'fd/0',
  '/dev/stdout': 'fd/1',
  '/dev/stderr': 'fd/2',
  '/proc/self/fd': '/dev/fd',  # Seen where /proc is not mounted any more.
}


def enter(config: dict):
  """A read-only root that shows the system's programs and nothing else.

  Args:
    config: of the worker: 'visible' paths, 'libraries' and 'packages'.
  """
  kernel.die_with_parent()
  shown, libraries = config['visible'], config['libraries']
  needed = [*shown, *libraries.values()]
  root = next(
    p for p in _MOUNT_POINTS
    if os.path.isdir(p) and not any(f'{n}/'.startswith(f'{p}/') for n in needed)
  )  # fmt: skip
  kernel.mount('tmpfs', root, 'tmpfs', kernel.NOSUID, 'mode=755,size=64m')
  for folder in ('tmp', 'proc', 'dev', 'dev/fd', 'packages'):
    os.mkdir(f'{root}/{folder}')
  for path in shown:
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
      os.symlink(os.readlink(path), target)
      continue
    if os.path.isdir(path):
      os.makedirs(target, exist_ok=True)
    else:
      open(target, 'x').close()
    kernel.bind_read_only(path, target)
  for name in _DEVICES:
    open(f'{root}/dev/{name}', 'x').close()
    kernel.bind_read_only(f'/dev/{name}', f'{root}/dev/{name}', True)
  for name, target in _LINKS.items():
    os.makedirs(os.path.dirname(root + name), exist_ok=True)
    os.symlink(target, root + name)
  for name, path in libraries.items():
    os.mkdir(f'{root}/packages/{name}')
    kernel.bind_read_only(path, f'{root}/packages/{name}')
  program.write_files(f'{root}/packages', config['packages'])
  with contextlib.suppress(OSError):  # Refused where /proc is masked.
    kernel.mount('proc', f'{root}/proc', 'proc', kernel.NOSUID | kernel.NODEV)
  os.chdir(root)
  kernel.call('pivot_root', b'.', b'.')
  kernel.call('umount2', b'.', kernel.DETACH)
  os.chdir('/')
  remount = 0x20 | kernel.BIND | kernel.RDONLY | kernel.NOSUID | kernel.NODEV
  kernel.mount('', '/', '', remount)


def renew_tmp(size_bytes: int):
  """A mount namespace with a new /tmp, and of /proc its own files alone.

  They are how a process opens what it has open already: /dev/stdin.
  """
  kernel.call('unshare', kernel.NEW_MOUNT)
  with contextlib.suppress(OSError):  # There is no /proc in some containers.
    kernel.mount('/proc/self/fd', '/dev/fd', '', kernel.BIND)
    kernel.call('umount2', b'/proc', kernel.DETACH)
  size = f'size={size_bytes},nr_inodes=4096,mode=1777'
  kernel.mount('tmpfs', '/tmp', 'tmpfs', kernel.NOSUID | kernel.NODEV, size)
  os.chdir('/tmp')
