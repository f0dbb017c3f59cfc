"""Collectives of a compiled program, read from its HLO text.

A loop whose length is known counts what is in it as often as it runs; what is
in a loop whose length is data, as micro-batches and decode steps, counts once
and says so.
"""

import collections
import dataclasses
import math
import re

KINDS = (
  'all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all',
  'collective-permute', 'collective-broadcast', 'ragged-all-to-all',
)  # fmt: skip
_BITS = {'pred': 8, 's4': 4, 'u4': 4, 'c64': 64, 'c128': 128}
_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$')
_OP = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$')
_ARRAY = re.compile(r'([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]')
_CALLED = re.compile(
  r'(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)'
)


@dataclasses.dataclass(frozen=True)
class Collective:
  """All collectives of one kind, per chip.

  Attributes:
    kind: one of `KINDS`.
    count: how many run; those in an open loop, in one turn of it.
    sent_bytes: what a chip sends, in a ring.
    is_open: whether they are in a loop whose length is data.
  """

  kind: str
  count: int
  sent_bytes: int
  is_open: bool


def collectives(text: str) -> tuple[Collective, ...]:
  """Collectives by kind, those in open loops apart.

  Args:
    text: of a compiled program, as `jax.stages.Compiled.as_text` gives it.
  """
  bodies, entry = _computations(text)
  totals = collections.defaultdict(lambda: [0, 0])

  def walk(name, times, is_open):
    for line in bodies.get(name, ()):
      match = _OP.match(line)
      if not match:
        continue
      _, shape, op, rest = match.groups()
      kind = op.removesuffix('-start')
      if kind in KINDS:
        total = totals[kind, is_open]
        total[0] += times
        total[1] += times * sent_bytes(kind, shape, rest, op != kind)
      elif op == 'while':
        body = re.search(r'body=%?([\w.\-]+)', rest)[1]
        condition = re.search(r'condition=%?([\w.\-]+)', rest)[1]
        turns = _turns(rest, bodies.get(condition, ()))
        walk(body, times * (turns or 1), is_open or turns is None)
      else:
        branches = re.search(r'branch_computations=\{([^}]*)\}', rest)
        called = branches[1].split(',') if branches else _CALLED.findall(rest)
        for other in called:
          walk(other.strip().lstrip('%'), times, is_open)

  walk(entry, 1, False)
  return tuple(
    Collective(kind, count, size, is_open)
    for (kind, is_open), (count, size) in sorted(totals.items())
  )


def sent_bytes(kind: str, shape: str, rest: str, is_start: bool) -> int:
  """Bytes that one chip sends, where the chips of a group make a ring.

  Args:
    kind: one of `KINDS`.
    shape: of the result, as HLO writes it; of a start, operands are in it.
    rest: the line from its operands on, which names the groups.
    is_start: whether it is the first half of an asynchronous one.
  """
  sizes = [_array_bytes(*array) for array in _ARRAY.findall(shape)]
  size = max(sizes, default=0) if is_start else sum(sizes)
  # Each chip sends its whole part to one other.
  if kind == 'collective-permute':
    return size
  n = _group_size(rest)
  if kind == 'all-reduce':
    # Reduced around the ring, then gathered around it: each time a chip sends
    # all parts but one.
    return 2 * size * (n - 1) // n
  if kind == 'reduce-scatter' and not is_start:
    return size * (n - 1)  # the result is one part of what is reduced
  return size * (n - 1) // n


def _computations(text):
  """Lines of every computation by name, and the name of the entry."""
  bodies, entry, lines = {}, '', []
  for line in text.splitlines():
    head = None if line.startswith(' ') else _HEAD.match(line)
    if head:
      lines = bodies[head[2]] = []
      entry = head[2] if head[1] else entry
    else:
      lines.append(line)
  return bodies, entry


def _turns(rest, condition):
  """Turns of a loop, or None if its length is data."""
  known = re.search(r'known_trip_count\D*(\d+)', rest)
  if known:
    return int(known[1])
  # i < constant; every loop of known length that jax makes begins at 0.
  text = '\n'.join(condition)
  bounds = re.findall(r'[su]32\[\][^=]*? constant\((\d+)\)', text)
  is_less = 'direction=LT' in text and text.count('compare(') == 1
  is_counted = is_less and ' and(' not in text and len(bounds) == 1
  return int(bounds[0]) if is_counted else None


def _group_size(rest):
  iota = re.search(r'replica_groups=\[\d+,(\d+)\]', rest)
  if iota:
    return int(iota[1])
  # Sizes of all axes, perhaps the order of the devices, and the axes used.
  mesh = re.search(r'replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}', rest)
  if mesh:
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
    return math.prod(
      int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2])
    )
  listed = re.search(r'replica_groups=\{\{([\d,]*)\}', rest)
  return len(listed[1].split(',')) if listed else 2


def _array_bytes(dtype, dimensions):
  bits = _BITS.get(dtype) or int(re.search(r'\d+', dtype)[0])
  shape = [int(n) for n in dimensions.split(',') if n]
  return math.prod(shape) * bits // 8
