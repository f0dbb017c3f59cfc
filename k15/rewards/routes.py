"""Which reward judges a problem: by its domain, in a plain dict."""

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
