"""Who counts what a kill loses: tokens that a call had returned, decoded again.

The journal is not asked.  A run gets `HOOK` as its `sitecustomize`, which wraps
the two places where tokens come from, as they come: a call of the decode loop
(`SlotBackend.generate`), and what a worker has sent (`Run.accept`).  Each adds
a line to a file, K15_WITNESS, before anybody else sees the tokens:

    [process, kind, seconds, [[seed, group, sample, first position, count]]]

A token whose line is there of an earlier process, and comes again, is lost.
Tokens that are given to the decode loop, so that it goes on from them, are of
another kind: nothing is drawn.
"""

import collections
import dataclasses
import json
import pathlib

from k15 import files
from k15 import streams
from k15.rollout import local

HOOK = """
import importlib.abc, importlib.util, json, os, sys, time

def _note(kind, seconds, pieces):
  line = json.dumps([os.getpid(), kind, seconds, pieces]) + '\\n'
  os.write(_FILE, line.encode())

def _backend(module):
  kind = module.SlotBackend
  insert, generate = kind.insert, kind.generate
  def inserted(self, prefix, rows, requests, slots):
    insert(self, prefix, rows, requests, slots)
    here = self.__dict__.setdefault('witnessed', {})
    for request, slot in zip(requests, slots):
      here[slot] = [request, len(request.response)]
  def generated(self, stop_when_free, given=None):
    start = time.perf_counter()
    made = generate(self, stop_when_free, given)
    seconds, pieces = time.perf_counter() - start, []
    here = self.__dict__.get('witnessed', {})
    for slot, (request, first) in list(here.items()):
      count = int(made.counts[slot])
      ids = request.seed, request.group_id, request.sample_index
      pieces.append([*map(int, ids), first, count])
      here[slot][1] += count
      if made.stop[slot]:
        del here[slot]
    _note('drawn' if given is None else 'given', seconds, pieces)
    return made
  kind.insert, kind.generate = inserted, generated

def _remote(module):
  accept = module.Run.accept
  def accepted(self, share, work, chunk):
    if len(chunk.tokens) and not share.is_over and work in share.works:
      r = work.request
      first = len(r.response) + sum(len(c.tokens) for c in work.chunks)
      ids = r.seed, r.group_id, r.sample_index
      _note('drawn', 0.0, [[*map(int, ids), first, len(chunk.tokens)]])
    accept(self, share, work, chunk)
  module.Run.accept = accepted

def _journal(module):
  def timed(kind, name):
    inner = getattr(kind, name)
    def outer(*arguments, **named):
      start = time.perf_counter()
      found = inner(*arguments, **named)
      _note('kept', time.perf_counter() - start, [])
      return found
    setattr(kind, name, outer)
  for kind, names in (
    (module.Journal, ('begin', 'keep_verdict', 'forget')),
    (module.Phase, ('open', 'write', 'sync')),
  ):
    for name in names:
      timed(kind, name)

_WRAPS = {
  'k15.rollout.backend': _backend, 'k15.serving.remote': _remote,
  'k15.rollout.journal': _journal,
}

class _Finder(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path, target=None):
    if name not in _WRAPS:
      return None
    wrap = _WRAPS.pop(name)
    spec = importlib.util.find_spec(name)
    execute = spec.loader.exec_module
    def exec_module(module):
      execute(module)
      wrap(module)
    spec.loader.exec_module = exec_module
    return spec

if os.environ.get('K15_WITNESS'):
  # A run that is refused makes no folder, and so needs no witness's either.
  os.makedirs(os.path.dirname(os.environ['K15_WITNESS']), exist_ok=True)
  _FILE = os.open(
    os.environ['K15_WITNESS'], os.O_WRONLY | os.O_CREAT | os.O_APPEND
  )
  for name in _WRAPS.keys() & sys.modules.keys():
    _WRAPS.pop(name)(sys.modules[name])
  sys.meta_path.insert(0, _Finder())
"""


@dataclasses.dataclass(frozen=True)
class Loss:
  """What was lost with one process.

  Attributes:
    tokens: drawn again by a later one.
    calls: that had returned them.
    drawn: all tokens that the process had drawn.
  """

  tokens: int
  calls: int
  drawn: int


@dataclasses.dataclass(frozen=True)
class Account:
  """What a witness has seen.

  Attributes:
    losses: a process that drew something and was followed by another, each.
    given: tokens that the decode loop was given.
    drawn: tokens, each of them as often as it was.
    kept_seconds: that the thread of the rollout and others spent on the
      journal.
  """

  losses: tuple[Loss, ...]
  given: int
  drawn: int
  kept_seconds: float


def account(path: pathlib.Path, seed: int = 0, stage: str = 'rl') -> Account:
  """Reads what was written of a stage of RL, of a run's seed."""
  own = local.seed_of(streams.key(seed, 'rollout', stage))
  owners, lost, calls, kept = {}, collections.Counter(), {}, 0.0
  drawn, given = collections.Counter(), 0
  lines = path.read_text().splitlines() if path.exists() else []
  for number, line in enumerate(lines):
    process, kind, seconds, pieces = json.loads(line)
    kept += seconds * (kind == 'kept')
    for seed_of_piece, group, sample, first, count in pieces:
      if seed_of_piece != own:
        continue
      if kind == 'given':
        given += count
        continue
      drawn[process] += count
      for position in range(first, first + count):
        token = group, sample, position
        before = owners.get(token)
        # Twice in one process: an iteration that broke off in that process.
        if before and before[0] != process:
          lost[before[0]] += 1
          calls.setdefault(before[0], set()).add(before[1])
        owners[token] = process, number
  losses = tuple(
    Loss(lost[one], len(calls.get(one, ())), drawn[one])
    for one in list(drawn)[:-1]
  )
  return Account(losses, given, drawn.total(), kept)


def cost(path: pathlib.Path, workdir: pathlib.Path) -> dict[str, float]:
  """Seconds for the journal of a run, and of its iterations of RL in all."""
  seconds = sum(
    value
    for record in files.read_jsonl(workdir / 'metrics.jsonl')
    if record['stage'] == 'rl'
    for key, value in record.items()
    if key.startswith('time/')
  )
  return dict(
    journal_seconds=round(account(path).kept_seconds, 4),
    iterations_seconds=round(seconds, 2),
  )


def told(name: str, found: Account) -> str:
  """A line for people."""
  each = ' '.join(f'{loss.tokens}/{loss.drawn}' for loss in found.losses)
  return (
    f'{name}: tokens lost of those drawn, at each kill: {each or "none drawn"};'
    f' given to the decode loop again: {found.given}'
  )


def result_of(found: list[Account]) -> dict[str, int]:
  """Numbers of several runs for a RESULT line."""
  losses = [loss for one in found for loss in one.losses]
  return dict(
    kills_while_drawing=len(losses),
    tokens_drawn=sum(one.drawn for one in found),
    tokens_given=sum(one.given for one in found),
    tokens_lost=sum(loss.tokens for loss in losses),
    most_calls_lost=max((loss.calls for loss in losses), default=0),
  )
