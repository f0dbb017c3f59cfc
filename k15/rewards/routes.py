"""Which reward judges a problem: by its domain, in a plain dict."""

import pathlib
from collections.abc import Sequence

REWARDS = ('exact_answer', 'math_answers', 'code_tests', 'r1_format')


def routes_of(default: str, pairs: Sequence[str]) -> dict[str, str]:
  """Reward by domain; '' is every domain that is not named.

  Args:
    default: a name of REWARDS.
    pairs: 'domain:reward' each.

  Raises:
    ValueError: a pair without a colon, a domain twice, an unknown reward.
  """
  routes = {'': default}
  for pair in pairs:
    domain, colon, reward = pair.rpartition(':')
    if not (colon and domain):
      raise ValueError(f"{pair!r} is not 'domain:reward'")
    if domain in routes:
      raise ValueError(f'the domain {domain!r} has two rewards')
    routes[domain] = reward
  for reward in routes.values():
    if reward not in REWARDS:
      raise ValueError(f'no reward {reward!r}; there are {", ".join(REWARDS)}')
  return routes


def named(texts: Sequence[str]) -> dict[str, str]:
  """'name:rest' each, as a dict; a text without a colon is a path.

  Raises:
    ValueError: a name twice, or none.
  """
  pairs = {}
  for text in texts:
    name, colon, rest = text.partition(':')
    if not colon:
      name, rest = pathlib.Path(text).name.partition('.')[0], text
    if not name or '/' in name:
      raise ValueError(f"{text!r} is not 'name:...' with a plain name")
    if name in pairs:
      raise ValueError(f'{name!r} is there twice')
    pairs[name] = rest
  return pairs
