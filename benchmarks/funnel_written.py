"""Written problems for `benchmarks.test_case_funnel`: graphs, in two languages.

Statements, solutions and generators are written by hand.  The last two have
more than one right output, which needs a special judge.
"""

from k15.rewards.test_cases import ContestProblem
from k15.rewards.test_cases import Submission

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
