"""Languages as data: the file of a source, how it is compiled and run.

A new one is one more row.  Commands are looked up in `_PATH`, which every rung
shows; what a machine lacks is named by `missing`, and whoever asks for it gets
an error and no verdict.  Those of C# (mono), PHP and TypeScript are as
MultiPL-E runs them, and have not been tried where their interpreters are not
installed.
"""

import dataclasses
import os
import shutil

_PATH = '/usr/local/bin:/usr/bin:/bin'
# A class of this name runs, where a source has several with a main function.
TESTS_CLASS = 'K15Tests'


@dataclasses.dataclass(frozen=True)
class Language:
  """Attributes:
  source_name: file that the source is written to, in the working folder.
  compile: command, its program by name; () where there is nothing to compile.
  artifact: file that the compiler leaves, what a run needs.
  run: command; () runs inside the fork server, without starting anything.
  has_calls: whether functions can be called with values, in and out.
  needs: programs behind those of the commands, by name.
  reserved_bytes: address space that its runtime reserves and does not use: on
    top of the limit.  Resident memory stays within the limit.
  threads: of the runtime itself, on top of the limit.
  failure: text on stderr that says of a run that it failed, where the exit
    code does not.
  """

  source_name: str
  compile: tuple[str, ...] = ()
  artifact: str = ''
  run: tuple[str, ...] = ()
  has_calls: bool = False
  needs: tuple[str, ...] = ()
  reserved_bytes: int = 0
  threads: int = 0
  failure: str = ''


# Java finds its libraries by way of /proc, which programs do not see, so the
# folder of its runtime is found by built-ins of the shell: no fork, which the
# rung 'seccomp' refuses.
_JAVA_HOME = """\
for home in /usr/lib/jvm/*; do [ -x $home/bin/javac ] && break; done
export LD_LIBRARY_PATH=$home/lib
"""
_JAVA_OPTIONS = (
  '-Xshare:auto', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
  '-XX:CompressedClassSpaceSize=64m', '-XX:ReservedCodeCacheSize=32m',
  '-XX:-UsePerfData', '-Xmx256m',
)  # fmt: skip
_JAVAC_OPTIONS = ' '.join(f'-J{option}' for option in _JAVA_OPTIONS)
# The file has to be called as its public class; the class that runs is the one
# with a main function.
_COMPILE_JAVA = f"""\
set -e
{_JAVA_HOME}
word='[A-Za-z_][A-Za-z0-9_]*'
public=$(sed -n "s/^[[:space:]]*public .*class \\($word\\).*/\\1/p" main.java)
set -- $public Main
mv main.java source; mv source $1.java
$home/bin/javac {_JAVAC_OPTIONS} -encoding UTF-8 -d classes $1.java
cd classes
main=$(grep -l '(\\[Ljava/lang/String;)V' *.class | head -n 1)
[ -f {TESTS_CLASS}.class ] && main={TESTS_CLASS}.class
$home/bin/jar {_JAVAC_OPTIONS} cfe ../main.jar ${{main%.class}} .
"""
_RUN_JAVA = f"""\
{_JAVA_HOME}
exec $home/bin/java -ea -Xss64m {' '.join(_JAVA_OPTIONS)} -jar main.jar
"""
_NODE = ('node', '--openssl-config=/dev/null', '--max-old-space-size=400')
_COMPILE_CSHARP = f"""\
main=
grep -q 'class {TESTS_CLASS}' main.cs && main=-main:{TESTS_CLASS}
exec mcs -d:DEBUG -r:System.Numerics.dll $main -out:main.exe main.cs
"""
_WITH_RUNTIME = dict(reserved_bytes=2 << 30, threads=32)

LANGUAGES = {
  'python': Language('main.py', has_calls=True),
  'cpp': Language(
    'main.cpp',
    compile=('g++', '-O2', '-std=c++17', '-pipe', '-o', 'main', 'main.cpp'),
    artifact='main',
    run=('./main',),
  ),
  'c': Language(
    'main.c',
    compile=('gcc', '-O2', '-pipe', '-o', 'main', 'main.c', '-lm'),
    artifact='main',
    run=('./main',),
  ),
  'sh': Language('main.sh', run=('sh', 'main.sh')),
  'bash': Language('main.sh', run=('bash', 'main.sh')),
  'java': Language(
    'main.java',
    compile=('sh', '-c', _COMPILE_JAVA),
    artifact='main.jar',
    run=('sh', '-c', _RUN_JAVA),
    needs=('java', 'javac'),
    **_WITH_RUNTIME,
  ),
  'javascript': Language('main.js', run=(*_NODE, 'main.js'), **_WITH_RUNTIME),
  'typescript': Language(
    'main.ts',
    compile=('tsc', '--target', 'es2020', 'main.ts'),
    artifact='main.js',
    run=(*_NODE, 'main.js'),
    **_WITH_RUNTIME,
  ),
  'csharp': Language(
    'main.cs',
    compile=('sh', '-c', _COMPILE_CSHARP),
    artifact='main.exe',
    run=('env', 'MONO_TRACE_LISTENER=Console.Error', 'mono', 'main.exe'),
    needs=('mono', 'mcs'),
    # Of an assertion and of an exception; mono ends with 0 all the same.
    failure='System.Diagnostics.DefaultTraceListener.Fail',
    **_WITH_RUNTIME,
  ),
  'php': Language('main.php', run=('php', 'main.php')),
}  # fmt: skip


def missing(language: Language) -> tuple[str, ...]:
  """Programs that a language needs and this machine lacks, by name."""
  words = [*language.needs, *language.compile[:1], *language.run[:1]]
  return tuple(w for w in dict.fromkeys(words) if not _find(w))


def absolute(command: tuple[str, ...]) -> tuple[str, ...]:
  """The command with the path of its program; as it is where it has none."""
  return tuple(_find(word) or word for word in command[:1]) + command[1:]


def _find(word):
  # './main' is in the working folder and there once it is compiled.
  return word if os.sep in word else shutil.which(word, path=_PATH)
