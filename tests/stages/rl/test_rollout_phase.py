"""A verdict that the journal has is not asked for again."""

import contextlib
import threading
import types
from concurrent import futures

import numpy as np
import small_engine

from experiments import base
from k15.data_types import Problem, Segment, StopReason, Trajectory
from k15.rewards import scoring
from k15.rewards.verdict import Verdict
from k15.rollout import journal as journal_lib
from k15.stages.rl import rollout_phase


def make_stage(journal, judge):
  tokens = np.array(list(b'yes'), np.int32)
  segments = (Segment(tokens, np.zeros(3, np.float32), 0),)
  members = tuple(
    Trajectory(3, 'p', i, segments, StopReason.EOS) for i in range(2)
  )
  scorer = scoring.Scorer({'rule': judge}, {'': 'rule'}, 1)
  stop = threading.Event()
  context = types.SimpleNamespace(
    config=base.get_config(),
    task=types.SimpleNamespace(
      tokenizer=small_engine.TOKENIZER, encode_prompt=None
    ),
    scorer=scorer,
    submit=scorer.submit,
    stop_poll=lambda: stop.is_set,
    rollout_layout=types.SimpleNamespace(use_mesh=contextlib.nullcontext),
  )
  stage = types.SimpleNamespace(
    context=context,
    records=types.SimpleNamespace(journal=journal),
    rollout=types.SimpleNamespace(generate=lambda requests, phase: iter(())),
  )
  return stage, {3: Problem('p', 'say yes', 'yes')}, members


def judged(folder, judge):
  """Kinds of the verdicts of two finished responses, and what is counted."""
  journal = journal_lib.Journal(folder)
  journal.begin(0, small_engine.make_params())
  stage, problems, members = make_stage(journal, judge)
  _, verdicts = rollout_phase.sample(stage, problems, [], members, 0)
  futures.wait(verdicts.values())
  kinds = [verdicts[3, i].result().kind for i in range(2)]
  stage.context.scorer.close()
  journal.close()
  return kinds, stage.context.scorer.pop_numbers()


def test_what_was_judged_is_counted_and_not_judged_again(tmp_path):
  kinds = ['correct', 'error']

  def judge(response, reference):
    return Verdict(kinds.pop(0), 'timeout')

  assert judged(tmp_path, judge)[0] == ['correct', 'error']
  kinds[:] = ['wrong']  # Of the error, which is asked about again.
  found, numbers = judged(tmp_path, judge)
  assert found == ['correct', 'wrong'] and not kinds
  assert (numbers['correct'], numbers['wrong'], numbers['error']) == (1, 1, 0)
