"""Answer verifiers side by side: k15's cascade and math-verify alone.

  python -m benchmarks.quality.verifiers --data FOLDER [--repeats 3]
  [--disagreements]

Both judge the same labelled cases, one at a time, in processes of their own
that take turns set by set; a repeat starts fresh processes, so that nothing is
remembered from the last.  Imports, the first worker and a warm-up that is the
same for both are not timed.
math-verify runs as its documentation says: parse both texts, LaTeX between
dollars, then verify, with its own time limits.

  exact   cases of all sets whose final answer is the reference, letter by
          letter: most of what training scores
  ratio   seconds of math-verify / seconds of k15, median of the repeats

Cases marked 'policy' are timed and not counted.  What k15 makes of the HOSTILE
texts has to be said within HOSTILE_SECONDS each on a machine that does nothing
else.  The last line is `RESULT {json}`.
"""

import argparse
import json
import logging
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import math_verify

from benchmarks.quality import public_data
from k15.rewards.answers import fallback
from k15.rewards.answers import fallback_process
from k15.rewards.answers import verify as verify_lib

NAMES = ('k15', 'math-verify')
TARGET_EXACT = 10.0
# Answers that would take for ever, or too much memory, if one let them.
HOSTILE = {
  'power tower': '10^{10^{10}}',
  'tower of letters': 'x^{x^{x^{x^x}}}',
  'factorial': '(10^9)!',
  'factorials': '3' + '!' * 60,
  'binomial': r'\binom{10^9}{5\cdot10^8}',
  'fractions': r'\frac{1}{' * 1000 + '1' + '}' * 1000,
  'roots': r'\sqrt{' * 45 + '2' + '}' * 45,
  'sines': r'\sin(' * 35 + 'x' + ')' * 35,
  'parentheses': '(' * 2000 + '1' + ')' * 2000,
  'product': r'\prod_{i=1}^{1000000} i',
  'integral': r'\int_0^1 \frac{\sin(x^{x})}{\log(1+x^5)} e^{-x^7} dx',
  'many numbers': ','.join(map(str, range(200))),
  'megabyte': '7' * 2**20,
  'spaces': '7' + ' ' * 2**20 + '8',
  'braces': '{' * 2**20,
  'backslashes': '\\' * 2**20,
  'boxes': r'\boxed{8} and ' * 80_000,
  'dollars': 'a $ b $' * 150_000,
  'answers': 'the answer is ' * 75_000,
  'scientific': '1e999999999',
  'not text': '\x00\x01\ud800',
}
HOSTILE_SECONDS = 1.5


def read_sets(folder: pathlib.Path, every: int = 1) -> dict[str, list[dict]]:
  """Every so manieth case by set; 'exact' is picked from all of them."""
  sets, exact = {}, []
  for path in sorted(folder.glob('*.jsonl')):
    sets[path.stem] = [json.loads(line) for line in path.open()][::every]
    exact += [
      case
      for case in sets[path.stem]
      if verify_lib.final_answer(case['pred']) == case['gold']
    ]
  return sets | {'exact': exact}


def with_k15(response: str, reference: str) -> str:
  return verify_lib.verify(response, reference).kind


def with_math_verify(response: str, reference: str) -> str:
  try:
    gold = math_verify.parse(as_formula(reference))
    answer = math_verify.parse(as_formula(response))
    return 'correct' if math_verify.verify(gold, answer) else 'wrong'
  except Exception:
    return 'error'


def as_formula(text: str) -> str:
  """Bare LaTeX in dollars, as math-verify wants it; anything else as it is."""
  is_marked = any(mark in text for mark in ('$', '\\boxed', '\\(', '\\['))
  # More words are prose: between dollars they would be read as products of
  # letters, which says nothing of math-verify.
  return text if is_marked or len(text.split()) > 12 else f'${text}$'


def serve(name: str, folder: pathlib.Path, every: int) -> None:
  """The process of one verifier: a set's name a line, its answers a line."""
  logging.disable()
  sets = read_sets(folder, every)
  verify = with_k15 if name == 'k15' else with_math_verify
  if name == 'k15':
    fallback.shared().warm_up()
  for i, text in enumerate(fallback_process.WARM_UP):
    verify(text, text)
    verify(text, fallback_process.WARM_UP[i - 1])
  for line in sys.stdin:
    kinds, start = [], time.perf_counter()
    for case in sets[line.strip()]:
      kinds.append(verify(case['pred'], case['gold']))
    seconds = time.perf_counter() - start
    print(json.dumps({'seconds': seconds, 'kinds': kinds}), flush=True)


def measure(
  folder: pathlib.Path, every: int, sets: list[str], repeat: int
) -> dict:
  """{(set, verifier): {'seconds', 'kinds'}} of one repeat."""
  command = [
    sys.executable,
    '-m',
    'benchmarks.quality.verifiers',
    f'--cases={folder}',
    f'--every={every}',
  ]
  processes = {
    name: subprocess.Popen(
      [*command, '--serve', name],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for name in NAMES
  }
  found = {}
  try:
    for i, set_ in enumerate(sets):
      # Who goes first alternates.
      for name in NAMES if (i + repeat) % 2 == 0 else NAMES[::-1]:
        processes[name].stdin.write(set_ + '\n')
        processes[name].stdin.flush()
        found[set_, name] = json.loads(processes[name].stdout.readline())
  finally:
    for process in processes.values():
      process.stdin.close()
      process.wait(timeout=60)
  return found


def slowest_hostile() -> float:
  """Seconds of the slowest verdict on a hostile answer, by k15."""
  fallback.shared().warm_up()
  return max(
    verify_lib.verify(response, '7').seconds
    for text in HOSTILE.values()
    for response in (f'\\boxed{{{text}}}', text)
  )


def errors(cases: list[dict], kinds: list[str]) -> list[dict]:
  """Cases whose verdict is not their label, those marked 'policy' aside."""
  return [
    case
    for case, kind in zip(cases, kinds, strict=True)
    if 'policy' not in case and (kind == 'correct') != case['expect']
  ]


def report(sets: dict, repeats: list[dict]) -> dict:
  """Prints the table; returns what RESULT holds."""
  ratios, wrong = {}, {name: {} for name in NAMES}
  print(
    f'{"set":20} {"cases":>5} {"counted":>7} '
    f'{"k15 %":>7} {"math-verify %":>13} {"k15/s":>9} {"m-v/s":>7} {"ratio":>7}'
  )
  for set_, cases in sets.items():
    seconds = {
      name: [repeat[set_, name]['seconds'] for repeat in repeats]
      for name in NAMES
    }
    ours, theirs = (seconds[name] for name in NAMES)
    ratios[set_] = statistics.median(
      b / a for a, b in zip(ours, theirs, strict=True)
    )
    counted = sum('policy' not in case for case in cases)
    for name in NAMES:
      wrong[name][set_] = len(errors(cases, repeats[0][set_, name]['kinds']))
    shares = [100 * (1 - wrong[name][set_] / max(counted, 1)) for name in NAMES]
    rates = [len(cases) / statistics.median(s) for s in (ours, theirs)]
    print(
      f'{set_:20} {len(cases):5} {counted:7} '
      f'{shares[0]:7.1f} {shares[1]:13.1f} '
      f'{rates[0]:9.0f} {rates[1]:7.0f} {ratios[set_]:7.1f}'
    )
  return {
    'verifier_ratio_by_set': {k: round(v, 2) for k, v in ratios.items()},
    'verifier_errors': wrong['k15'],
    'verifier_errors_math_verify': wrong['math-verify'],
    'no_slower_on_any_set': min(ratios.values()) >= 1,
    'ten_times_on_exact': ratios['exact'] >= TARGET_EXACT,
    'repeats': len(repeats),
    'cores': os.cpu_count(),
    'python': platform.python_version(),
  }


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  public_data.add_argument(parser)
  parser.add_argument('--cases', type=pathlib.Path, help='instead of --data')
  parser.add_argument('--every', type=int, default=1, help='case of a set')
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--disagreements', action='store_true')
  parser.add_argument('--serve', choices=NAMES, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.serve:
    serve(options.serve, options.cases, options.every)
    return
  cases = options.cases or public_data.need(options.data / 'verifier_cases')
  sets = read_sets(cases, options.every)
  if len(sets) == 1:
    sys.exit(f'no *.jsonl in {cases}')
  repeats = [
    measure(cases, options.every, [*sets], repeat)
    for repeat in range(options.repeats)
  ]
  result = report(sets, repeats)
  slowest = slowest_hostile()
  result['slowest_hostile_seconds'] = round(slowest, 2)
  result['hostile_answers_end_in_time'] = slowest < HOSTILE_SECONDS
  if options.disagreements:
    for set_, cases in sets.items():
      for case in errors(cases, repeats[0][set_, 'k15']['kinds']):
        print(
          set_, repr(case['gold']), repr(case['pred'][-120:]), case['expect']
        )
  print('RESULT', json.dumps(result))


if __name__ == '__main__':
  main()
