"""Control groups, on folders that look like the kernel's."""

import os

import pytest

from k15.rewards.sandbox import cgroups


def version_1(tmp_path, *controllers):
  for controller in controllers:
    folder = tmp_path / controller / 'mine'
    folder.mkdir(parents=True)
    (folder / 'cgroup.procs').touch()
  own = tmp_path / 'own'
  own.write_text('\n'.join(f'{i}:{c}:/mine' for i, c in enumerate(controllers)))
  return own


def test_version_1_has_a_folder_per_controller(tmp_path):
  own = version_1(tmp_path, 'memory', 'pids', 'cpu')
  parents, is_v2 = cgroups.find_parents(tmp_path, own)
  assert not is_v2
  assert parents == {
    name: tmp_path / name / 'mine' for name in ('memory', 'pids', 'cpu')
  }


def test_version_2_climbs_to_a_group_that_hands_controllers_down(tmp_path):
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  (tmp_path / 'a' / 'b' / 'cgroup.subtree_control').write_text('\n')
  (tmp_path / 'a' / 'cgroup.subtree_control').write_text('cpu memory pids\n')
  own = tmp_path / 'own'
  own.write_text('0::/a/b\n')
  parents, is_v2 = cgroups.find_parents(tmp_path, own)
  assert is_v2 and parents == dict.fromkeys(('memory', 'pids'), tmp_path / 'a')


def test_none_where_a_controller_is_missing(tmp_path):
  own = version_1(tmp_path, 'memory', 'cpu')
  assert cgroups.find_parents(tmp_path, own) is None
  assert cgroups.find_parents(tmp_path, tmp_path / 'nothing') is None


@pytest.mark.parametrize(
  ('is_v2', 'memory', 'kills'),
  [
    (False, 'memory.limit_in_bytes', 'memory.oom_control'),
    (True, 'memory.max', 'memory.events'),
  ],
)
def test_limits_are_written_with_room_for_the_server(
  tmp_path, is_v2, memory, kills
):
  parents = {name: tmp_path / name for name in ('memory', 'pids')}
  for parent in parents.values():
    parent.mkdir()
  group = cgroups.Group(parents, is_v2)
  group.limit(1 << 20, 4)
  folder = group.folders['memory']
  assert int((folder / memory).read_text()) == (1 << 20) + (16 << 20)
  assert (group.folders['pids'] / 'pids.max').read_text() == '10'
  assert group.memory_kills() == 0
  (folder / kills).write_text('low 0\noom 5\noom_kill 3\n')
  assert group.memory_kills() == 3
  assert folder.name.startswith(f'k15_{os.getpid()}_')


def test_descendants_hold_the_process_itself():
  assert cgroups.descendants(os.getpid())[0] == os.getpid()
  assert os.getpid() in cgroups.descendants(os.getppid())


def test_a_real_group_counts_and_goes():
  group = cgroups.make()
  if group is None:
    pytest.skip('no writable control group')
  folders = list(group.folders.values())
  group.limit(64 << 20, 4)
  assert group.processes() == []
  group.close()
  assert not any(folder.exists() for folder in folders)
