"""Languages as data: each row runs, and holds against hostile programs.

Those whose interpreters this machine lacks are skipped by name.
"""

import dataclasses

import pytest

from k15.rewards.sandbox import languages
from k15.rewards.sandbox import pool as pool_lib

LANGUAGES = languages.LANGUAGES
JAVA = 'import java.util.*; public class Main {{ {} }}'
JAVA_MAIN = 'public static void main(String[] a) throws Exception {{ {} }}'
CSHARP = 'using System; class Main {{ static void Main() {{ {} }} }}'
C = '#include <stdio.h>\n#include <unistd.h>\nint main() {{ {} }}'
PHP = '<?php {}'


def java(text):
  return JAVA.format(JAVA_MAIN.format(text))


ADD_ONE = {
  'python': 'print(int(input()) + 1)',
  'cpp': '#include <iostream>\nint main(){int a;std::cin>>a;std::cout<<a+1;}',
  'c': '#include <stdio.h>\nint main(){int a;scanf("%d",&a);printf("%d",a+1);}',
  'sh': 'read a; echo $((a + 1))',
  'bash': 'read a; b=($((a + 1))); echo "${b[0]}"',
  'java': java('System.out.println(new Scanner(System.in).nextInt() + 1);'),
  'javascript': (
    'const a = require("fs").readFileSync(0, "utf8"); console.log(+a + 1)'
  ),
  'typescript': (
    'declare var require: any;\n'
    'const a: string = require("fs").readFileSync(0, "utf8");\n'
    'console.log(Number(a) + 1);'
  ),
  'csharp': CSHARP.format(
    'Console.WriteLine(int.Parse(Console.ReadLine()) + 1);'
  ),
  'php': PHP.format('echo intval(fgets(STDIN)) + 1;'),
}
ENDLESS = {
  'python': 'while True: pass',
  'c': C.format('for (;;);'),
  'cpp': C.format('for (;;);'),
  'sh': 'while :; do :; done',
  'bash': 'while :; do :; done',
  'java': java('while (true);'),
  'javascript': 'for (;;);',
  'typescript': 'for (;;);',
  'csharp': CSHARP.format('while (true);'),
  'php': PHP.format('for (;;);'),
}
LOUD = {
  'python': 'while True: print("x" * 9999)',
  'c': C.format('for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxx");'),
  'cpp': C.format('for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxx");'),
  'sh': 'while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxx; done',
  'bash': 'while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxx; done',
  'java': java('while (true) System.out.println("x".repeat(9999));'),
  'javascript': (
    'const fs = require("fs"); for (;;) fs.writeSync(1, "x".repeat(9999))'
  ),
  'typescript': 'for (;;) console.log("xxxxxxxxxxxxxxxxxxxxxxxxxxxx");',
  'csharp': CSHARP.format(
    "while (true) Console.WriteLine(new String('x', 9999));"
  ),
  'php': PHP.format('for (;;) echo str_repeat("x", 9999);'),
}  # fmt: skip
_SPAWN = 'require("child_process").spawn("/bin/sleep", ["90"])'
BOMB = {
  'python': 'import os\nwhile True: os.fork()',
  'c': C.format('for (;;) fork();'),
  'cpp': C.format('for (;;) fork();'),
  'sh': 'f() { f | f & }; f; wait; while :; do f; done',
  'bash': 'f() { f | f & }; f; wait; while :; do f; done',
  'java': java(
    'while (true) try { new ProcessBuilder("/bin/sleep", "90").start(); }'
    ' catch (Throwable e) {}'
  ),
  'javascript': f'for (;;) try {{ {_SPAWN} }} catch (e) {{}}',
  'typescript': (
    f'declare var require: any; for (;;) try {{ {_SPAWN} }} catch (e) {{}}'
  ),
  'csharp': CSHARP.format(
    'while (true) try { System.Diagnostics.Process.Start("/bin/sleep", "90");'
    ' } catch {}'
  ),
  'php': PHP.format('while (true) shell_exec("sleep 90 &");'),
}
# Writes where it may and where it may not, and says what it got through.
PLACES = ('/etc/k15', '/usr/k15', '/root/k15', '/var/tmp/k15', '/bin/k15')
_LIST = ', '.join(f'"{place}"' for place in PLACES)
WRITES = {
  'python': (
    f'for p in [{_LIST}, "mine"]:\n  try: open(p, "w"); print(p)\n'
    '  except OSError: pass'
  ),
  'c': C.format(
    f'const char *p[] = {{{_LIST}, "mine"}}; for (int i = 0; i < 6; i++)'
    ' if (fopen(p[i], "w")) puts(p[i]);'
  ),
  'sh': f'for p in {" ".join(PLACES)} mine; do (: > $p) 2>&- && echo $p; done',
  'java': java(
    f'for (String p : new String[] {{{_LIST}, "mine"}}) try {{'
    ' new java.io.FileWriter(p).close(); System.out.println(p); }'
    ' catch (java.io.IOException e) {}'
  ),
  'javascript': (
    f'for (const p of [{_LIST}, "mine"]) try {{'
    ' require("fs").writeFileSync(p, ""); console.log(p) } catch (e) {}'
  ),
  'csharp': CSHARP.format(
    f'foreach (var p in new[] {{{_LIST}, "mine"}}) try {{'
    ' System.IO.File.WriteAllText(p, ""); Console.WriteLine(p); } catch {}'
  ),
  'php': PHP.format(
    f'foreach ([{_LIST}, "mine"] as $p) if (@fopen($p, "w")) echo "$p\\n";'
  ),
}
WRITES |= {
  'cpp': WRITES['c'],
  'bash': WRITES['sh'],
  'typescript': 'declare var require: any;' + WRITES['javascript'],
}


@pytest.fixture(params=LANGUAGES)
def name(request):
  """A language that is found here."""
  if lacking := languages.missing(LANGUAGES[request.param]):
    pytest.skip(f'no {", ".join(lacking)}')
  return request.param


def run(pool, name, sources, seconds=60.0, stdin='', **limits):
  limits = pool_lib.Limits(seconds=seconds, **limits)
  return pool.run(pool_lib.Job(name, sources[name], stdin, limits))


def test_every_language_is_tried():
  for programs in (ADD_ONE, ENDLESS, LOUD, BOMB, WRITES):
    assert set(programs) == set(LANGUAGES)


def test_a_program_of_each(pool, name):
  outcome = run(pool, name, ADD_ONE, stdin='41')
  assert (outcome.stdout.strip(), outcome.reason) == ('42', '')


def test_an_endless_loop_is_out_of_time(pool, name):
  run(pool, name, ADD_ONE, stdin='1')  # The compiler is warm.
  assert run(pool, name, ENDLESS, seconds=1.0).reason == 'timeout'


def test_a_huge_output_is_cut(pool, name):
  outcome = run(pool, name, LOUD, output_bytes=1 << 16)
  assert outcome.reason.startswith(('output_limit', 'crash'))
  assert len(outcome.stdout) <= 1 << 16


def test_a_fork_bomb_ends_and_leaves_the_pool_usable(pool, name):
  outcome = run(pool, name, BOMB, seconds=2.0)
  assert outcome.seconds < 7.0
  assert run(pool, 'python', ADD_ONE, stdin='1').stdout == '2\n'


def test_files_are_written_in_the_working_folder_alone(pool, name):
  assert run(pool, name, WRITES).stdout.split() == ['mine']


@pytest.mark.parametrize('name', ['java', 'javascript'])
def test_memory_that_a_runtime_reserves_is_not_for_the_program(pool, name):
  if lacking := languages.missing(LANGUAGES[name]):
    pytest.skip(f'no {", ".join(lacking)}')
  greedy = {
    'java': java('var l = new ArrayList<long[]>();'
                 ' while (true) l.add(new long[1 << 20]);'),
    # Outside of the heap, which has a limit of its own.
    'javascript': 'const l = []; for (;;) l.push(Buffer.alloc(1 << 24, 1))',
  }  # fmt: skip
  assert run(pool, name, greedy).reason == 'memory'


def test_a_java_class_gives_its_file_its_name(pool):
  if lacking := languages.missing(LANGUAGES['java']):
    pytest.skip(f'no {", ".join(lacking)}')
  main = JAVA_MAIN.format('System.out.println(new B().x());')
  source = f'class B {{ int x() {{ return 7; }} }}\npublic class A {{ {main} }}'
  assert pool.run(pool_lib.Job('java', source)).stdout == '7\n'


def test_a_language_is_a_row(pool, monkeypatch):
  sed = languages.Language('main.sed', run=('sed', '-f', 'main.sed'))
  monkeypatch.setitem(LANGUAGES, 'sed', sed)
  assert pool.run(pool_lib.Job('sed', 's/a/b/', 'aa')).stdout == 'ba'


def test_what_is_not_installed_is_named(pool, monkeypatch):
  gone = dataclasses.replace(LANGUAGES['cpp'], compile=('no++', 'main.cpp'))
  monkeypatch.setitem(LANGUAGES, 'gone', gone)
  outcome = pool.run(pool_lib.Job('gone', ADD_ONE['cpp'], '41'))
  assert outcome.reason == 'sandbox: no program no++'


def test_what_stderr_says_of_a_failure_counts(pool, monkeypatch):
  row = dataclasses.replace(LANGUAGES['sh'], failure='Debug.Fail')
  monkeypatch.setitem(LANGUAGES, 'quiet', row)
  failed = pool.run(pool_lib.Job('quiet', 'echo Debug.Fail >&2'))
  assert failed.reason == 'crash: Debug.Fail'
  assert pool.run(pool_lib.Job('quiet', 'echo Debug.Fail')).reason == ''


def test_no_calls_where_a_language_has_none(pool):
  with pytest.raises(ValueError, match='no function calls in sh'):
    pool.run(pool_lib.Job('sh', ':', call=pool_lib.Call('f', '[[],{}]')))
