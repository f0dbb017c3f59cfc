"""Tests of benchmarks/speed/real.py, real_model.py and quiet.py."""

import argparse
import os

import pytest

from benchmarks.speed import quiet
from benchmarks.speed import real
from benchmarks.speed import real_model

TICKS = os.sysconf('SC_CLK_TCK')


def test_the_first_line_of_proc_stat():
  # user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice:
  # 1 + 2 + 3 + 6 + 7 seconds are busy, 8 are stolen.
  ticks = [TICKS * n for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
  text = f'cpu  {" ".join(map(str, ticks))}\ncpu0 1 1 1 1 1 1 1 1 1 1\n'
  assert quiet.read_stat(text) == (19, 8)
  assert quiet.read_stat('') == (None, None)


def test_what_others_did_is_what_is_left_of_busy_processors():
  before = quiet.Mark(clock=10, load=0.2, own=3, busy=100, stolen=1)
  # 10 s: 15 busy processor-seconds, 14 of them ours, 0.1 of 20 stolen.
  after = quiet.Mark(clock=20, load=1.9, own=17, busy=115, stolen=1.1)
  found = quiet.compare(before, after, processors=2)
  assert found['others_processors'] == pytest.approx(0.1)
  assert found['stolen_share'] == pytest.approx(0.005)
  assert found['verdict'] == 'quiet'
  assert (found['load_before'], found['load_after']) == (0.2, 1.9)


@pytest.mark.parametrize(
  'own, stolen, verdict',
  [(13, 0, 'noisy'), (15, 0.5, 'noisy'), (15, 0, 'quiet')],
)
def test_others_or_other_guests_make_it_noisy(own, stolen, verdict):
  before = quiet.Mark(clock=0, load=0, own=0, busy=0, stolen=0)
  after = quiet.Mark(clock=10, load=2, own=own, busy=15, stolen=stolen)
  assert quiet.compare(before, after, processors=2)['verdict'] == verdict


def test_elsewhere_than_on_linux_nobody_knows():
  mark = quiet.Mark(clock=0, load=0, own=0, busy=None, stolen=None)
  assert quiet.compare(mark, mark, processors=2)['verdict'] == 'unknown'


def test_prompts_are_those_of_the_commonest_length():
  prompts = [[1], [2, 3], [4, 5], [6], [7, 8]]
  assert real_model.commonest(prompts) == [[2, 3], [4, 5], [7, 8]]


def test_lengths_of_the_tail():
  # A quarter of 6 to 1,024 tokens, and not below 8.
  assert len(real.LENGTHS) == 64
  assert (min(real.LENGTHS), max(real.LENGTHS)) == (8, 256)


def test_ways_are_named_by_row():
  args = argparse.Namespace(
    way=['generate:k15=64 slots', 'long_tail:trl=continuous, 16 slots']
  )
  assert real.ways_of('generate', args) == {'k15': '64 slots'}
  assert real.ways_of('long_tail', args) == {'trl': 'continuous, 16 slots'}


def test_speeds_and_their_ratios(capsys):
  # 2 x 64 = 128 tokens; less the 1 s of a first token, 126 in 7 s and none
  # that could be told of the other.
  whole = dict(k15=8.0, trl=16.0, llama=0.5)
  start = dict(k15=1.0, trl=2.0, llama=0.5)
  decode = real.less(whole, start)
  assert decode == dict(k15=7.0, trl=14.0)
  lengths = dict(generate=[64, 64], decode=[63, 63])
  assert real.show_speeds(dict(generate=whole, decode=decode), lengths) == {
    'generate_tokens_per_second': 16.0,
    'generate_ratio_transformers': 2.0,
    'generate_ratio_llama_cpp': 0.0625,
    'decode_tokens_per_second': 18.0,
    'decode_ratio_transformers': 2.0,
  }
  assert 'decode, tokens/s' in capsys.readouterr().out


def test_the_rollout_in_bfloat16_has_keys_of_its_own(capsys):
  seconds = dict(k15=8.0, k15_half=4.0, trl=16.0)
  lengths = dict(generate=[64, 64])
  result = real.show_speeds(dict(generate=seconds), lengths)
  assert result == {
    'generate_tokens_per_second': 16.0,
    'generate_ratio_transformers': 2.0,
    'generate_bf16_tokens_per_second': 32.0,
    'generate_bf16_ratio_transformers': 4.0,
  }
  assert '32' in capsys.readouterr().out
  alone = real.half_of('generate', dict(k15_half=32.0))
  assert alone == {'generate_bf16_tokens_per_second': 32.0}


def test_which_way_ratios_go(capsys):
  seconds = dict(k15=10.0, k15_lora=5.0, trl=20.0)
  peaks = dict(k15=4e9, k15_lora=2e9, trl=8e9)
  result = real.show_steps(seconds, peaks)
  assert result['step_ratio_trl'] == 2 and result['lora_step_ratio'] == 2
  assert result['memory_ratio_trl'] == result['lora_memory_ratio'] == 0.5
  assert 'step, seconds' in capsys.readouterr().out
