"""What all workers share: the wire, the prompts, the long tail.

Standard library only, because it runs under every peer's interpreter.
"""

import json
import os
import pathlib
import random
import resource
import sys
import time
import traceback

PREFIX = 'BENCH '
# A file in which the parent says otherwise than here what the policy is and
# what it is asked: that of `benchmarks.speed.real`.
FILE = 'K15_BENCH'


def read_given():
  path = os.environ.get(FILE)
  return json.loads(pathlib.Path(path).read_text()) if path else {}


GIVEN = read_given()
MODEL = GIVEN.get('model')  # Directory of real weights; None: random ones.
VOCAB = GIVEN.get('vocab', 512)
# Two ids beyond the vocabulary: the model cannot sample them, so no response
# ends early and no sampled token is mistaken for padding.
PAD, END = VOCAB, VOCAB + 1
PROMPT_TOKENS = GIVEN.get('prompt_tokens', 24)
PROMPTS, SAMPLES = GIVEN.get('groups', (4, 4))
ROWS = PROMPTS * SAMPLES
MICRO = GIVEN.get('micro', ROWS)  # Rows whose gradient is computed at once.


def claim_stdout():
  """Keep stdout for answers; whatever a library prints goes to stderr."""
  answers = os.fdopen(os.dup(1), 'w', buffering=1)
  # Of the descriptor and not of sys.stdout: libraries in C print, too.
  os.dup2(2, 1)
  return answers


def answer(out, payload):
  out.write(PREFIX + json.dumps(payload) + '\n')
  out.flush()


def serve(out, operations, leave_on=(), fresh=False):
  """Answer one JSON command per line of stdin; None when it closes.

  A command named in leave_on is not answered here but returned, for the
  caller to carry out and answer before it serves on.  first_step is taken
  only as the first command of a process, the one place where fresh is set.
  """
  for line in sys.stdin:
    try:
      command = json.loads(line)
      if command['op'] == 'first_step' and not fresh:
        raise ValueError('first_step needs a process that did nothing yet')
      fresh = False
      if command['op'] in leave_on:
        return command
      reply = operations[command['op']](command)
    except Exception as error:
      reply = failure(error)
    answer(out, reply)
  return None


def failure(error):
  """The answer for an operation that raised; the traceback is chatter."""
  traceback.print_exc()
  return {'error': f'{type(error).__name__}: {error}'}


def random_prompts(seed, count=PROMPTS):
  """`count` prompts of random ids, or of those that are given in an order of
  their own; the same for every peer at equal seed."""
  rng = random.Random(seed)
  if GIVEN:
    prompts = rng.sample(GIVEN['prompts'], len(GIVEN['prompts']))
    return [prompts[i % len(prompts)] for i in range(count)]
  return [
    [rng.randrange(VOCAB) for _ in range(PROMPT_TOKENS)] for _ in range(count)
  ]


def repeated(prompts):
  """Each prompt SAMPLES times, the samples of one prompt side by side."""
  return [prompt for prompt in prompts for _ in range(SAMPLES)]


def as_text(ids):
  return ' '.join(map(str, ids))


def mark():
  """A point in time: wall clock, processor time, preemptions."""
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return time.perf_counter(), time.process_time(), usage.ru_nivcsw


def since(start):
  """What went by since `start`.

  A loaded machine shows in `preempted`, how often another process took a
  core away: such a measurement is better repeated than believed.
  """
  seconds, cpu, preempted = (
    now - then for now, then in zip(mark(), start, strict=True)
  )
  return {
    'seconds': seconds,
    'cpu_seconds': cpu,
    'preempted': preempted,
    'peak_bytes': peak_bytes(),
  }


def peak_bytes():
  """The most memory this process ever held, or 0 where Linux does not say.

  Not `ru_maxrss`: a child starts with what its parent had.
  """
  status = pathlib.Path('/proc/self/status')
  lines = status.read_text().splitlines() if status.exists() else []
  kib = [line.split()[1] for line in lines if line.startswith('VmHWM:')]
  return 1024 * int(kib[0]) if kib else 0


def long_tail_operation(strategies):
  """The `long_tail` operation: the fastest of several ways to batch.

  strategies maps a name to `run(lengths, rehearse)`.  With rehearse set, run
  does no more than make the timed run warm.  The first command for some
  lengths tries them all; one that names a strategy has that one instead, and
  may have `settings` for it.
  """
  chosen = {}

  def pick(lengths):
    key = tuple(lengths)
    if key in chosen:
      return {}, chosen[key]
    tried = trial_times(strategies, lengths)
    chosen[key] = min(tried, key=tried.get)
    return {'tried': tried}, chosen[key]

  def long_tail(command):
    lengths, name = command['lengths'], command.get('strategy')
    reply = {}
    if name is None:
      reply, name = pick(lengths)
    given = {k: v for k, v in command.items() if k == 'settings'}
    start = mark()
    strategies[name](lengths, False, **given)
    reply.update(since(start))
    return {**reply, 'strategy': name, 'useful_tokens': sum(lengths)}

  return long_tail


def trial_times(strategies, lengths):
  """Warm seconds of every strategy; one that fails is left out, aloud."""
  seconds = {}
  for name, run in strategies.items():
    try:
      run(lengths, True)
      start = mark()
      run(lengths, False)
      seconds[name] = since(start)['seconds']
    except Exception:
      print(f'long_tail strategy {name} failed:', file=sys.stderr)
      traceback.print_exc()
  if not seconds:
    raise RuntimeError('every long_tail strategy failed')
  return seconds


def slices(lengths, size):
  """Row ranges of `size`, in arrival order: lengths are not known ahead."""
  return [slice(first, first + size) for first in range(0, len(lengths), size)]
