"""What a config says of meshes, read once: sizes, rules, and their checks.

Arrays name what each of their axes means ('embed', 'heads', 'batch'); rules say
over which axes of the mesh that is split.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from k15.config import keys

AXES = ('data', 'fsdp', 'tensor', 'context')
Rules = Sequence[tuple[str, str | tuple[str, ...] | None]]
# Parameters split over 'fsdp' (gathered for use) and 'tensor' (never
# gathered); rows of a batch and slots of the rollout over both outer axes, and
# the columns of long rows over 'context'.
RULES = (
  ('batch', ('data', 'fsdp')),
  ('slots', ('data', 'fsdp')),
  ('embed', 'fsdp'),
  ('vocab', 'tensor'),
  ('heads', 'tensor'),
  ('kv_heads', 'tensor'),  # whole on every device where it does not divide
  ('mlp', 'tensor'),
  ('head_dim', None),
  ('sequence', 'context'),  # whole where it does not divide
  ('layers', None),
  ('norm', None),
  # Of the tower that looks at pictures; the rest of it is named as above.
  ('vision_heads', 'tensor'),  # whole where it does not divide
  ('qkv', None),
  ('pixels', None),
  ('places', None),
)


def parse_rules(
  texts: Sequence[str], base: Rules = RULES, key: str = 'mesh.rules'
) -> Rules:
  """Rules as the config writes them, in place of those of `base`.

  Args:
    texts: 'embed:fsdp', 'batch:data+fsdp', or 'norm:' for what is whole.
    base: rules of what no text names.
    key: that holds the texts.

  Raises:
    ConfigError: a text is no rule, or names what there is not, or one twice.
  """
  rules, named = dict(base), []
  for text in texts:
    name, colon, right = str(text).partition(':')
    axes = tuple(filter(None, right.split('+')))
    keys.refuse(
      not colon,
      f'{key} holds {text!r}, and has to hold rules such as'
      " 'embed:fsdp', 'batch:data+fsdp' or 'norm:'",
    )
    keys.refuse(
      name not in rules,
      f'{key} holds {text!r}; {name!r} is none of {", ".join(rules)}',
    )
    keys.refuse(
      not set(axes) <= set(AXES) or len(set(axes)) < len(axes),
      f'{key} holds {text!r}; a mesh has the axes {", ".join(AXES)}, each once',
    )
    keys.refuse(name in named, f'{key} has two rules for {name!r}')
    named.append(name)
    rules[name] = axes if len(axes) > 1 else axes[0] if axes else None
  return tuple(rules.items())


def filled(
  sizes: Sequence[int], num_devices: int, key: str = 'mesh'
) -> dict[str, int]:
  """Axis -> its size, with -1 replaced by what the others leave.

  Args:
    sizes: in the order of `AXES`, the last ones 1 where they are not given.
    num_devices: those there are; a smaller mesh takes the first.
    key: that holds the sizes.

  Raises:
    ConfigError: the sizes do not fit the devices.
  """
  shape = dict.fromkeys(AXES, 1) | dict(zip(AXES, sizes, strict=False))
  open_axes = [name for name, size in shape.items() if size == -1]
  keys.refuse(
    any(size < 1 and size != -1 for size in shape.values())
    or len(open_axes) > 1,
    f'{key} is {shape}; sizes are >= 1, and at most one is -1, all that is'
    ' left',
  )
  product = abs(math.prod(shape.values()))
  keys.refuse(
    num_devices % product if open_axes else product > num_devices,
    f'{key} is {shape}, whose {product} devices do not fit the {num_devices}'
    ' there are',
  )
  return shape | dict.fromkeys(open_axes, num_devices // product)


def check(get: Callable[[str], Any], num_devices: int) -> None:
  """Refuses layouts that would fail later.

  Args:
    num_devices: those the mesh may use.

  Raises:
    ConfigError: names the key, its value and what it has to be.
  """
  check_processes(get)
  rules = parse_rules(get('mesh.rules'))
  shape = filled([get(f'mesh.{name}') for name in AXES], num_devices)
  _check_sizes(get, 'mesh', shape, rules, ('optimizer.micro_batch_rows',))
  prompt, response = get('rollout.max_prompt_length'), get('rollout.max_length')
  ways = math.prod(shape[name] for name in _axes(rules, 'sequence'))
  keys.refuse(
    (prompt + response) % ways,
    f'mesh.context splits a row over {ways} devices, which does not divide its'
    f' {prompt + response} tokens, rollout.max_prompt_length {prompt} +'
    f' rollout.max_length {response}',
  )
  _check_rollout(get, shape, rules)


def check_processes(get: Callable[[str], Any]) -> None:
  """Refuses what keeps processes from meeting; arguments as of `check`."""
  count, coordinator = get('mesh.num_processes'), get('mesh.coordinator')
  keys.refuse(
    count == 0, 'mesh.num_processes is 0, and has to be >= 1, or -1 on a pod'
  )
  keys.refuse(
    (count > 1 or coordinator) and not keys.is_address(coordinator),
    f'mesh.coordinator is {coordinator!r}, and {count} processes need the'
    " 'host:port' of the first",
  )
  keys.refuse(
    count != 1 and get('rollout.workers'),
    f'rollout.workers are {get("rollout.workers")}, and the {count} processes'
    ' of mesh.num_processes decode for themselves',
  )


def _check_rollout(get, shape, rules):
  sizes, where = get('rollout.mesh'), 'mesh'
  rules = parse_rules(get('rollout.mesh_rules'), rules, 'rollout.mesh_rules')
  if sizes:
    keys.refuse(
      not all(isinstance(size, int) for size in sizes) or len(sizes) != 3,
      f'rollout.mesh is {sizes}, and has to be (data, fsdp, tensor) or ()',
    )
    where, count = 'rollout.mesh', math.prod(shape.values())
    shape = filled(sizes, count, where)
    keys.refuse(
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
    axes = _axes(rules, meaning)
    ways = math.prod(shape[name] for name in axes)
    keys.refuse(
      get(key) % ways,
      f'{key} is {get(key)}, not a multiple of the {where} {" * ".join(axes)},'
      f' {ways}',
    )


def _axes(rules, meaning) -> tuple[str, ...]:
  axes = dict(rules)[meaning]
  return (axes,) if isinstance(axes, str) else axes or ()
