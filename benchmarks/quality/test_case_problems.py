"""Problems for `benchmarks.quality.test_cases`: MBPP's by stdin, and graphs.

For each of MBPP's: how its function is fed from standard input, a second
solution written by hand, and a CYaRon generator written by hand in place of the
model.  Some generators fail in the ways that a model's do.  Some references are
wrong beyond MBPP's own three asserts, and the second solution is not.

Those on graphs are written by hand, statements, solutions and generators, in
two languages.  The last two have more than one right output, which needs a
special judge.
"""

import dataclasses

from k15.rewards.code.test_cases import ContestProblem
from k15.rewards.code.test_cases import Submission

# Both programs of a problem begin with these, or with the generators' HEAD.
SHOW = """
def num():
  return int(input())
def ints():
  return [int(x) for x in input().split()]
def show(x):
  print(*x) if isinstance(x, (list, tuple)) else print(x)
"""
HEAD = """from cyaron import *
import sys
case = int(input())
io = IO(sys.stdout, disable_output=True)
line = io.input_writeln
"""
_NUMBERS = """n = 1 + case // 2
line([randint({low}, {high}) for _ in range(n)])"""
_GRAPH = """
n, m = map(int, input().split())
near = [[] for _ in range(n + 1)]
for _ in range(m):
  u, v, w = map(int, input().split())
  near[u].append((v, w))
  near[v].append((u, w))
"""
_CPP = """#include <bits/stdc++.h>
using namespace std;
int main() {
  long long n, m;
  cin >> n >> m;
  vector<array<long long, 3>> edges(m);
  for (auto& [u, v, w] : edges) cin >> u >> v >> w;
"""
_SHOW_GRAPH = 'line(n, m)\nio.input_write(graph.to_str(shuffle=True))'

DIAMETER_PYTHON = f"""{_GRAPH}
def far(start):
  seen, stack = {{start: 0}}, [start]
  for u in stack:
    for v, w in near[u]:
      if v not in seen:
        seen[v] = seen[u] + w
        stack.append(v)
  return max((d, u) for u, d in seen.items())
print(far(far(1)[1])[0])
"""
DIAMETER_CPP = (
  _CPP
  + """
  vector<vector<long long>> d(n, vector<long long>(n, 1e15));
  for (int i = 0; i < n; i++) d[i][i] = 0;
  for (auto [u, v, w] : edges) d[u - 1][v - 1] = d[v - 1][u - 1] = w;
  for (int k = 0; k < n; k++) for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) d[i][j] = min(d[i][j], d[i][k] + d[k][j]);
  long long best = 0;
  for (auto& row : d) for (auto x : row) best = max(best, x);
  cout << best << endl;
}"""
)
DISTANCE_PYTHON = f"""{_GRAPH}
import heapq
best, heap = {{}}, [(0, 1)]
while heap:
  d, u = heapq.heappop(heap)
  if u not in best:
    best[u] = d
    for v, w in near[u]:
      heapq.heappush(heap, (d + w, v))
print(best.get(n, -1))
"""
DISTANCE_CPP = (
  _CPP
  + """
  vector<long long> d(n + 1, 1e15);
  d[1] = 0;
  for (int i = 0; i < n; i++) for (auto [u, v, w] : edges) {
    d[v] = min(d[v], d[u] + w);
    d[u] = min(d[u], d[v] + w);
  }
  cout << (d[n] < 1e15 ? d[n] : -1) << endl;
}"""
)
# Stops when it first sees the last node, whatever the way costs.
DISTANCE_BAD = DISTANCE_PYTHON.replace('heapq.heappop(heap)', 'heap.pop(0)')
PARTS_PYTHON = f"""{_GRAPH}
left, parts = set(range(1, n + 1)), 0
while left:
  parts, stack = parts + 1, [left.pop()]
  while stack:
    for v, _ in near[stack.pop()]:
      if v in left:
        left.remove(v)
        stack.append(v)
print(parts)
"""
PARTS_CPP = (
  _CPP
  + """
  vector<int> up(n + 1);
  iota(up.begin(), up.end(), 0);
  function<int(int)> top = [&](int u) {
    return up[u] == u ? u : up[u] = top(up[u]);
  };
  long long parts = n;
  for (auto [u, v, w] : edges)
    if (top(u) != top(v)) up[top(u)] = top(v), parts--;
  cout << parts << endl;
}"""
)
# Every edge joins two parts, it believes.
PARTS_BAD = 'n, m = map(int, input().split())\nprint(max(1, n - m))'


@dataclasses.dataclass(frozen=True)
class Entry:
  """Attributes:
  task_id: of MBPP.
  format: of the input, for the statement.
  main: reads, calls, shows.
  other: a second solution.
  generator: after HEAD.
  bad: how many of the ten submissions are broken on purpose.
  expected: 'kept' or why it has to be dropped.
  tolerance: of numbers.
  """

  task_id: int
  format: str
  main: str
  other: str
  generator: str
  bad: int = 0
  expected: str = 'kept'
  tolerance: float = 0.0


def numbers(low, high):
  """A generator of one line of numbers, the more the later."""
  return _NUMBERS.format(low=low, high=high)


ENTRIES = (
  Entry(
    28, 'n and k, each on a line', 'show(binomial_Coeff(num(), num()))',
    'from math import comb as binomial_Coeff',
    'line(5 + case // 6)\nline(case % 6 + choice([0, 0, 0, 9]))',
  ),
  Entry(
    72, 'n, at least 1', 'show(dif_Square(num()))',
    'def dif_Square(n):\n'
    '  return any((n + b * b) ** .5 % 1 == 0 for b in range(n + 1))',
    'line(randint(case * 10, case * 10 + 9))', bad=1,
  ),
  Entry(
    283, 'n, at least 1', 'show(validate(num()))',
    'def validate(n):\n  return all(str(n).count(d) <= int(d) for d in str(n))',
    'line("".join(choice("1233445566789") for _ in range(2 + case // 6)))',
    bad=2, expected='few passing',
  ),
  Entry(
    271, 'n', 'show(even_Power_Sum(num()))',
    'def even_Power_Sum(n):\n  return 32 * sum(i ** 5 for i in range(n + 1))',
    'line(case if case < 30 else randint(100, 10000))', bad=1,
  ),
  Entry(
    47, 'a and b, a at most b', 'show(compute_Last_Digit(*ints()))',
    'def compute_Last_Digit(a, b):\n  p = 1\n'
    '  for i in range(a + 1, b + 1): p = p * i % 10\n  return p',
    'a = randint(1, case * case)\nline(a, a + randint(0, 6))', bad=1,
  ),
  Entry(
    48, 'n', 'show(odd_bit_set_number(num()))',
    'def odd_bit_set_number(n):\n'
    '  return n | int("1" * ((n.bit_length() + 1) // 2) or "0", 4)',
    'line(randint(2 ** (case - 1), 2 ** case))', bad=2, expected='few passing',
  ),
  Entry(
    300, 'n', 'show(count_binary_seq(num()))',
    'from math import comb\ndef count_binary_seq(n): return comb(2 * n, n)',
    'line(case)', bad=1, tolerance=1e-9,
  ),
  Entry(
    22, 'a line of numbers', 'show(find_first_duplicate(ints()))',
    'def find_first_duplicate(a):\n'
    '  return next((x for i, x in enumerate(a) if x in a[:i]), -1)',
    numbers(1, 20), bad=1,
  ),
  Entry(
    42, 'a line of numbers', 'a = ints(); show(find_Sum(a, len(a)))',
    'from collections import Counter\ndef find_Sum(a, n):\n'
    '  return sum(x * k for x, k in Counter(a).items() if k > 1)',
    numbers(-9, 9), bad=2, expected='few passing',
  ),
  Entry(
    60, 'a line of numbers', 'a = ints(); show(max_len_sub(a, len(a)))',
    'def max_len_sub(a, n):\n  best = {}\n  for x in a:\n'
    '    best[x] = 1 + max(best.get(y, 0) for y in (x - 1, x, x + 1))\n'
    '  return max(best.values())',
    numbers(1, 30), bad=1,
  ),
  Entry(
    296, 'a line of numbers', 'a = ints(); show(get_Inv_Count(a, len(a)))',
    'import bisect\ndef get_Inv_Count(a, n):\n  seen, out = [], 0\n'
    '  for x in a:\n    out += len(seen) - bisect.bisect_right(seen, x)\n'
    '    bisect.insort(seen, x)\n  return out',
    'line(Vector.random(2 + case * 4, [(1, 100)], mode=1))', bad=4,
    expected='few cases',
  ),
  Entry(
    286, 'k and a line of numbers',
    'k = num(); a = ints(); show(max_sub_array_sum_repeated(a, len(a), k))',
    'def max_sub_array_sum_repeated(a, n, k):\n  low = total = 0\n'
    '  best = -10 ** 18\n  for x in a * k:\n    total += x\n'
    '    best = max(best, total - low)\n    low = min(low, total)\n'
    '  return best',
    'line(randint(1, 5))\n' + numbers(-50, 40), bad=1,
  ),
  Entry(
    322, 'a line of numbers', 'show(position_min(ints()))',
    'def position_min(a):\n'
    '  return sorted(i for i in range(len(a)) if a[i] == min(a))',
    numbers(1, 8),
  ),
  Entry(
    68, 'a line of numbers', 'show(is_Monotonic(ints()))',
    'def is_Monotonic(a): return a in (sorted(a), sorted(a)[::-1])',
    'a = [randint(1, 9) for _ in range(2 + case % 9)]\n'
    'line(choice([a, sorted(a), sorted(a)[::-1]]))', bad=1,
  ),
  Entry(
    11, 'a word and a letter, each on a line',
    'show(remove_Occ(input(), input()))',
    'def remove_Occ(s, c):\n  s = s.replace(c, "", 1)[::-1]\n'
    '  return s.replace(c, "", 1)[::-1]',
    'line("xy" + String.random(1 + case // 3, charset="abc"))\n'
    'line(choice("abc"))', bad=2, expected='few passing',
  ),
  Entry(
    30, 'a word', 'show(count_Substring_With_Equal_Ends(input()))',
    'from collections import Counter\n'
    'def count_Substring_With_Equal_Ends(s):\n'
    '  return sum(n * (n + 1) // 2 for n in Counter(s).values())',
    'line(String.random(1 + case, charset="abcd"))', bad=4,
    expected='few cases',
  ),
  # References that are wrong beyond their asserts.
  Entry(
    25, 'a line of numbers', 'a = ints(); show(find_Product(a, len(a)))',
    'from math import prod\n'
    'def find_Product(a, n): return prod(x for x in a if a.count(x) == 1)',
    'line(Vector.random(2 + case % 8, [(1, 9)], mode=1))', expected='few cases',
  ),
  Entry(
    66, 'a line of numbers', 'show(pos_count(ints()))',
    'def pos_count(a): return sum(x > 0 for x in a)',
    numbers(-3, 3), expected='few cases',
  ),
  Entry(
    302, 'n', 'show(set_Bit_Number(num()))',
    'def set_Bit_Number(n): return 1 << n.bit_length() - 1 if n else 0',
    'line(2 ** (case + 50) - randint(1, 9))', expected='few cases',
  ),
  # Generators that fail.
  Entry(
    59, 'n', 'show(is_octagonal(num()))',
    'def is_octagonal(n): return n * (3 * n - 2)',
    'line(randint(1, 10 ** 6)', expected='few cases',  # A syntax error.
  ),
  Entry(
    281, 'a line of numbers', 'show(all_unique(ints()))',
    'def all_unique(a): return sorted(a) == sorted(set(a))',
    'a = []\nwhile len(set(a)) < 10: a = [randint(1, 9) for _ in range(99)]',
    expected='few cases',  # Never ends.
  ),
  Entry(
    57, 'a line of digits', 'a = ints(); show(find_Max_Num(a, len(a)))',
    'def find_Max_Num(a, n):\n'
    '  return int("".join(map(str, sorted(a)[::-1])))',
    'line(3, 1, 2)', expected='few cases',  # Always the same.
  ),
  Entry(
    295, 'n, at least 2', 'show(sum_div(num()))',
    'def sum_div(n): return sum(d for d in range(1, n) if n % d == 0)',
    'line("n =", case)', expected='few cases',  # Not the format.
  ),
  Entry(
    29, 'a line of numbers', 'a = ints(); show(get_Odd_Occurrence(a, len(a)))',
    'def get_Odd_Occurrence(a, n):\n'
    '  return next((x for x in a if a.count(x) % 2), -1)',
    'import os\nos.kill(os.getppid(), 9)\nwhile True: os.fork()',
    expected='few cases',
  ),
  Entry(
    325, 'n, at least 1', 'show(get_Min_Squares(num()))',
    'def get_Min_Squares(n):\n  best = [0]\n  for i in range(1, n + 1):\n'
    '    best.append(1 + min(best[i - k * k] for k in range(1, i + 1)'
    ' if k * k <= i))\n  return best[n]',
    '', expected='no generator',  # No program at all.
  ),
)  # fmt: skip


def _mixed(*counts_and_programs):
  submissions = []
  for count, source in counts_and_programs:
    language = 'cpp' if source.startswith('#include') else 'python'
    submissions += [Submission(language, source)] * count
  return tuple(submissions)


_EDGES = 'n and m, then m lines of an edge and its length: u v w'
# Problem, generator after HEAD, what has to become of it.
PROBLEMS = (
  (
    ContestProblem(
      'written/diameter',
      f'The longest distance between two nodes of a tree.\nInput: {_EDGES}.',
      _mixed((6, DIAMETER_PYTHON), (4, DIAMETER_CPP)),
    ),
    'n = 2 + case\nm = n - 1\n'
    f'graph = Graph.tree(n, weight_limit=(1, 100))\n{_SHOW_GRAPH}',
    'kept',
  ),
  (
    ContestProblem(
      'written/distance',
      f'The distance from node 1 to node n, or -1.\nInput: {_EDGES}.',
      _mixed((4, DISTANCE_PYTHON), (4, DISTANCE_CPP), (2, DISTANCE_BAD)),
    ),
    'n = 5 + case\nm = 3 * n // 2\n'
    f'graph = Graph.graph(n, m, weight_limit=(1, 50))\n{_SHOW_GRAPH}',
    'few passing',
  ),
  (
    ContestProblem(
      'written/parts',
      f'The number of connected parts of a graph.\nInput: {_EDGES}.',
      _mixed((5, PARTS_PYTHON), (4, PARTS_CPP), (1, PARTS_BAD)),
    ),
    f'n = 4 + case\nm = n\ngraph = Graph.graph(n, m)\n{_SHOW_GRAPH}',
    'kept',
  ),
  (
    ContestProblem(
      'written/order',
      'Any order of the nodes in which every edge leads forward.\n'
      f'Input: {_EDGES}.',
      (),
      needs_special_judge=True,
    ),
    '',
    'special judge',
  ),
  (
    ContestProblem(
      'written/pair',
      'Any two of the numbers whose sum is s.\nInput: s, a line of numbers.',
      (),
      needs_special_judge=True,
    ),
    '',
    'special judge',
  ),
)
