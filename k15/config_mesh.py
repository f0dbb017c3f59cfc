"""Checks of what a config says of meshes, before any device is touched."""

import math
from collections.abc import Callable
from typing import Any

AXES = ('data', 'fsdp', 'tensor', 'context')
MEANINGS = (
  'batch', 'slots', 'embed', 'vocab', 'heads', 'kv_heads', 'mlp', 'head_dim',
  'sequence', 'layers', 'norm',
)  # fmt: skip


def check(get: Callable[[str], Any], num_devices: int) -> None:
  """Refuses layouts that would fail later.

  Args:
    get: the value of a key, 'mesh.data'.
    num_devices: those the mesh may use.

  Raises:
    ValueError: names the key, its value and what it has to be.
  """
  check_processes(get)
  rules = _rules(get('mesh.rules'), 'mesh.rules', {})
  missing = [name for name in MEANINGS if name not in rules]
  _refuse(missing, f'mesh.rules leave out {", ".join(missing)}')
  shape = {name: get(f'mesh.{name}') for name in AXES}
  shape = _filled('mesh', shape, num_devices)
  _check_sizes(get, 'mesh', shape, rules, ('optimizer.micro_batch_rows',))
  columns = get('rollout.max_prompt_length') + get('rollout.max_length')
  ways = _ways(shape, rules['sequence'])
  _refuse(
    columns % ways,
    f'mesh.context splits a row over {ways} devices, which does not divide its'
    f' {columns} tokens, rollout.max_prompt_length'
    f' {get("rollout.max_prompt_length")} + rollout.max_length'
    f' {get("rollout.max_length")}',
  )
  _check_rollout(get, shape, rules)


def check_processes(get: Callable[[str], Any]) -> None:
  """Refuses what keeps processes from meeting; arguments as of `check`."""
  count, coordinator = get('mesh.num_processes'), get('mesh.coordinator')
  host, _, port = coordinator.rpartition(':')
  is_address = host and port.isdigit() and 0 < int(port) < 1 << 16
  _refuse(
    count == 0, 'mesh.num_processes is 0, and has to be >= 1, or -1 on a pod'
  )
  _refuse(
    (count > 1 or coordinator) and not is_address,
    f'mesh.coordinator is {coordinator!r}, and {count} processes need the'
    " 'host:port' of the first",
  )
  _refuse(
    count != 1 and get('rollout.workers'),
    f'rollout.workers are {get("rollout.workers")}, and the {count} processes'
    ' of mesh.num_processes decode for themselves',
  )


def _check_rollout(get, shape, rules):
  sizes = get('rollout.mesh')
  rules = _rules(get('rollout.mesh_rules'), 'rollout.mesh_rules', rules)
  where = 'mesh'
  if sizes:
    whole = all(isinstance(size, int) for size in sizes)
    _refuse(
      not whole or len(sizes) != 3,
      f'rollout.mesh is {sizes}, and has to be (data, fsdp, tensor) or ()',
    )
    where, count = 'rollout.mesh', math.prod(shape.values())
    own = dict(zip(AXES, (*sizes, 1), strict=True))
    shape = _filled(where, own, count)
    _refuse(
      math.prod(shape.values()) != count,
      f'rollout.mesh is {sizes}, {math.prod(shape.values())} devices, and has'
      f' to hold the {count} of mesh',
    )
  slots = ('rollout.num_slots', 'rollout.prefill_batch')
  _check_sizes(get, where, shape, rules, slots)


def _check_sizes(get, where, shape, rules, rows):
  """Sizes that the mesh has to divide; `rows`: keys split as a batch is."""
  for key, meaning in (
    *((key, 'batch') for key in rows),
    ('policy.d_model', 'embed'),
    ('policy.num_heads', 'heads'),
    ('policy.d_ff', 'mlp'),
  ):
    ways = _ways(shape, rules[meaning])
    axes = ' * '.join(rules[meaning])
    _refuse(
      get(key) % ways,
      f'{key} is {get(key)}, not a multiple of the {where} {axes}, {ways}',
    )


def _filled(key, shape, num_devices):
  """The sizes with -1 replaced by what is left."""
  filled = [name for name, size in shape.items() if size == -1]
  _refuse(
    any(size < 1 and size != -1 for size in shape.values()) or len(filled) > 1,
    f'{key} is {shape}; sizes are >= 1, and at most one is -1, all that is'
    ' left',
  )
  product = abs(math.prod(shape.values()))
  _refuse(
    num_devices % product if filled else product > num_devices,
    f'{key} is {shape}, whose {product} devices do not fit the {num_devices}'
    ' there are',
  )
  return shape | dict.fromkeys(filled, num_devices // product)


def _rules(texts, key, base):
  """Meaning -> axes of the mesh."""
  rules = dict(base)
  named = [str(text).partition(':')[0] for text in texts]
  for text, name in zip(texts, named, strict=True):
    example = "'embed:fsdp', 'batch:data+fsdp' or 'norm:'"
    _refuse(
      not isinstance(text, str) or ':' not in text,
      f'{key} holds {text!r}, and has to hold rules such as {example}',
    )
    axes = tuple(filter(None, text.partition(':')[2].split('+')))
    _refuse(
      name not in MEANINGS,
      f'{key} holds {text!r}; {name!r} is none of {", ".join(MEANINGS)}',
    )
    _refuse(
      any(axis not in AXES or axes.count(axis) > 1 for axis in axes),
      f'{key} holds {text!r}; a mesh has the axes {", ".join(AXES)}, each once',
    )
    _refuse(named.count(name) > 1, f'{key} has two rules for {name!r}')
    rules[name] = axes
  return rules


def _ways(shape, axes):
  return math.prod(shape[name] for name in axes)


def _refuse(condition, sentence):
  if condition:
    raise ValueError(sentence)
