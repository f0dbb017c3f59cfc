"""Public data sets, in a folder of the user's: `--data`, or $K15_DATA.

The files are as their authors publish them on GitHub:

  gsm8k/{train,test}.jsonl      openai/grade-school-math, grade_school_math/data
  math500/math500.json          AI-Hypercomputer/JetStream,
                                benchmarks/huggingfaceh4_math500.json
  math_train7474/train.json     agentica-project/rllm,
                                rllm/data/train/math/math.json
  humaneval/HumanEval.jsonl.gz  openai/human-eval, data
  mbpp/mbpp.jsonl               google-research/google-research, mbpp
  mbpp/sanitized-mbpp.json      the same
  verifier_cases/*.jsonl        answers with verdicts, one {gold, pred, expect}
                                a line: tests of huggingface/Math-Verify,
                                hendrycks/math and others, and MATH-500's own
                                answers rewritten
"""

import argparse
import os
import pathlib
import sys

VARIABLE = 'K15_DATA'


def folder() -> pathlib.Path:
  """$K15_DATA, or `data` in the current folder."""
  return pathlib.Path(os.environ.get(VARIABLE) or 'data')


def add_argument(parser: argparse.ArgumentParser) -> None:
  """Adds `--data`."""
  parser.add_argument(
    '--data', type=pathlib.Path, default=folder(), metavar='FOLDER',
    help=f'of public data sets, see benchmarks/quality/public_data.py;'
    f' ${VARIABLE}',
  )  # fmt: skip


def need(path: pathlib.Path) -> pathlib.Path:
  """The path; ends the process with a sentence if it is not there."""
  if not path.exists():
    sys.exit(
      f'no {path}: --data or ${VARIABLE} names a folder of public data sets;'
      ' benchmarks/quality/public_data.py says where each file is from'
    )
  return path
