"""The parts of a policy that sees, of which a stage may train one alone.

Kimi k1.5, appendix B.4, first trains the vision tower in isolation, and then
unfreezes the language model.  What a stage does not train lies in
`TrainState.frozen`: it has no gradient, no moments and no place in checkpoints.
"""

from typing import Any

from k15.model import policy

ALL, TOWER, TEXT = PARTS = ('all', 'vision', 'text')


def split(tree: Any, trains: str) -> tuple[Any, Any]:
  """A tree like the parameters: what is trained, and what is frozen.

  Args:
    tree: parameters, or whatever has their structure.
    trains: one of PARTS.  'vision' is the tower with its mergers.

  Returns:
    Two trees that `lora.joined` puts together; the second is None where nothing
    is frozen.
  """
  if trains == ALL:
    return tree, None
  seen = {key: x for key, x in tree.items() if key == policy.VISION}
  rest = {key: x for key, x in tree.items() if key != policy.VISION}
  return (seen, rest) if trains == TOWER else (rest, seen)


def has_tower(frozen: Any) -> bool:
  """Whether there is a tower in what is frozen, be it beside adapters."""
  return frozen is not None and policy.VISION in frozen
