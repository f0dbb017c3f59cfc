"""Which rewards judge a problem: by its domain, in a plain dict.

A route names a reward, or a sum of them: 'math_answers+r1_format' is what
DeepSeek-R1-Zero was trained on, 'math_answers+0.5*r1_format' weighs its format
half as much, and 0 times a reward only measures it.  The first of a sum says
which answers are right; the others add to what a response earns and to nothing
else.  'summary(r1_format)' shows a reward only what follows the thinking: R1
judges whether an answer helps by that, and whether it harms by all of it.
"""

import dataclasses
import itertools
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Name -> that of its part where it is added to another; '': it never is, for
# it says by itself which answers are right.
REWARDS = {
  'exact_answer': '',
  'math_answers': '',
  'code_tests': '',
  'classic_rm': '',
  'cot_rm': '',
  'r1_format': 'format',
  'r1_latin': 'language',
  'r1_cjk': 'language',
}
# Rules by which benchmarks alone are judged: their answers can be guessed.
FOR_EVALUATION = ('choice',)
# Rewards that are models; the others are rules.
MODELS = ('classic_rm', 'cot_rm')
# Instead of a domain: problems with pictures, whose own domain is not named.
PICTURES = '<image>'
# What a rule says beside a model is a part that earns nothing.
TRUTH = 'truth'
_SUMMARY = re.compile(r'summary\((.*)\)')
PARTS = ('accuracy', *dict.fromkeys(filter(None, REWARDS.values())), TRUTH)


@dataclasses.dataclass(frozen=True)
class Term:
  """One reward of a sum.

  Attributes:
    reward: its name.
    weight: >= 0, by which its part enters the sum.
    part: a name of PARTS; the first term's is 'accuracy'.
    of_summary: whether it judges what follows the thinking alone.
  """

  reward: str
  weight: float
  part: str
  of_summary: bool = False


def terms_of(route: str) -> tuple[Term, ...]:
  """The terms of a route.

  Raises:
    ValueError: a weight that is none, or rewards that cannot be added.
  """
  terms = []
  for text in route.split('+'):
    weight, star, reward = text.rpartition('*')
    inside = _SUMMARY.fullmatch(reward.strip())
    reward = (inside[1] if inside else reward).strip()
    part = REWARDS.get(reward) if terms else PARTS[0]
    taken = {name for t in terms for name in (t.reward, t.part)}
    if not part or taken & {reward, part}:
      added = [name for name, part in REWARDS.items() if part]
      raise ValueError(
        f'{reward!r} cannot be added in {route!r}: after the first come'
        f' {", ".join(added)}, each part once'
      )
    value = _weight(weight, route) if star else 1.0
    terms.append(Term(reward, value, part, bool(inside)))
  return tuple(terms)


def _weight(text: str, route: str) -> float:
  try:
    weight = float(text)
  except ValueError:
    weight = math.nan
  if not 0 <= weight < math.inf:
    raise ValueError(f'{text!r} in {route!r} is no weight, a number >= 0')
  return weight


def lengths_of(pairs: Sequence[str]) -> dict[str, int]:
  """Longest response by domain, tokens.

  Args:
    pairs: 'domain:tokens' each.

  Raises:
    ValueError: a pair that is no such thing, or a domain twice.
  """
  return _numbers_of(pairs, 'tokens', 1)


def starts_of(pairs: Sequence[str]) -> dict[str, int]:
  """First iteration by domain: 'domain:iteration' each, as in `lengths_of`."""
  return _numbers_of(pairs, 'iteration', 0)


def _numbers_of(pairs, what, least):
  numbers = {}
  for pair in pairs:
    domain, _, number = pair.rpartition(':')
    if not domain or not number.isdigit() or int(number) < least:
      raise ValueError(f"{pair!r} is not 'domain:{what}'")
    if domain in numbers:
      raise ValueError(f'the domain {domain!r} is there twice')
    numbers[domain] = int(number)
  return numbers


def routes_of(default: str, pairs: Sequence[str]) -> dict[str, str]:
  """Route by domain; '' is every domain that is not named.

  Args:
    default: a route, see `terms_of`.
    pairs: 'domain:route' each; the domain may be PICTURES, see `key_of`.

  Raises:
    ValueError: a pair without a colon, a domain twice, a route that is none.
  """
  routes = {'': default}
  for pair in pairs:
    domain, colon, reward = pair.rpartition(':')
    if not (colon and domain):
      raise ValueError(f"{pair!r} is not 'domain:reward'")
    if domain in routes:
      raise ValueError(f'the domain {domain!r} has two rewards')
    routes[domain] = reward
  for term in itertools.chain(*map(terms_of, routes.values())):
    if term.reward not in REWARDS:
      raise ValueError(
        f'no reward {term.reward!r}; there are {", ".join(REWARDS)}'
      )
  return routes


def key_of(routes: Mapping[str, Any], domain: str, has_images: bool) -> str:
  """The key of `routes_of` by which a problem is judged.

  Its domain goes first; then, if it has pictures, what is said of all such: one
  of the four kinds of reward workers in Kimi k1.5's Figure 3a is for vision.
  """
  if domain and domain in routes:
    return domain
  return PICTURES if has_images and PICTURES in routes else ''


def weights_of(texts: Sequence[str]) -> dict[str, float]:
  """'domain:weight' each, as a dict.

  Raises:
    ValueError: no number >= 0 behind the last colon, a domain twice, or no
      weight above 0.
  """
  weights = {}
  for text in texts:
    name, _, number = str(text).rpartition(':')
    try:
      weight = float(number)
    except ValueError:
      weight = -1.0
    if not name or not 0 <= weight < math.inf:
      raise ValueError(f"{text!r} is not 'domain:weight' with a weight >= 0")
    if name in weights:
      raise ValueError(f'{name!r} is there twice')
    weights[name] = weight
  if weights and not sum(weights.values()):
    raise ValueError(f'all of {list(weights)} weigh 0')
  return weights


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
