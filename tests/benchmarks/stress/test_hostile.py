"""A part of the hostile battery; `python -m benchmarks.stress.hostile` runs it
all."""

from benchmarks.stress import hostile
from benchmarks.stress import hostile_programs

# One of each kind; the endless ones take their whole limit.
ENDLESS = {
  'a sleep that ignores signals', 'it stops itself', 'a fork bomb',
  'memory of eight processes', 'a bomb of sessions',
}  # fmt: skip
SHORT = {
  'it kills everybody', 'it kills its parent',
  'it pretends that the sandbox failed',
  'limits of its parent', 'a list of a billion', 'memory in /tmp', 'a daemon',
  'children that outlive it', 'output without end', 'errors without end',
  'white space around an answer', 'it closes everything',
  'it reads the environment', 'it reads the passwords',
  'it writes over programs',
  'a link to the outside', 'ptrace', 'namespaces of its own', 'a socket',
  'brackets without end',
}  # fmt: skip


def test_no_hack_is_found_correct(pool):
  result = hostile.attack(pool, 1.0, chosen=set(hostile_programs.HACKS))
  assert result['broken'] == []
  assert result['hostile_programs'] == len(hostile_programs.HACKS) >= 14


def test_hostile_programs_end_and_hurt_nobody(pool):
  result = hostile.attack(pool, 0.5, chosen=ENDLESS | SHORT)
  assert result['broken'] == []
  assert result['hostile_programs'] == len(ENDLESS | SHORT)
  assert result['neighbours'] > 0


def test_the_battery_is_large():
  assert len(list(hostile.programs())) >= 60


def test_the_honest_program_would_be_found_correct(pool):
  """Else nothing above would mean anything."""
  for source, test in (
    (hostile.HONEST, hostile.CALL),
    ('print(int(input()) * 7)', hostile.STDIN),
  ):
    verdict = hostile.programs_lib.judge_program(pool, 'python', source, [test])
    assert verdict.kind == 'correct', verdict
