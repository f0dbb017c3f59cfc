"""Languages as data: each entry runs; a new one is one more entry."""

import dataclasses
import os

import pytest

from k15.rewards import languages
from k15.rewards import sandbox

ADD_ONE = {
  'python': 'print(int(input()) + 1)',
  'cpp': '#include <iostream>\nint main(){int a;std::cin>>a;std::cout<<a+1;}',
  'c': '#include <stdio.h>\nint main(){int a;scanf("%d",&a);printf("%d",a+1);}',
  'sh': 'read a; echo $((a + 1))',
}


def test_every_language_is_tried_here():
  assert set(ADD_ONE) == set(languages.LANGUAGES)


@pytest.mark.parametrize('name', languages.LANGUAGES)
def test_a_program_of_each(pool, name):
  command = languages.LANGUAGES[name].compile
  if command and not os.access(command[0], os.X_OK):
    pytest.skip(f'no {command[0]}')
  outcome = pool.run(sandbox.Job(name, ADD_ONE[name], '41'))
  assert (outcome.stdout.strip(), outcome.reason) == ('42', '')


def test_a_language_is_an_entry(pool, monkeypatch):
  sed = languages.Language('main.sed', run=('/bin/sed', '-f', 'main.sed'))
  monkeypatch.setitem(languages.LANGUAGES, 'sed', sed)
  assert pool.run(sandbox.Job('sed', 's/a/b/', 'aa')).stdout == 'ba'


def test_what_is_not_installed_is_named(pool, monkeypatch):
  cpp = languages.LANGUAGES['cpp']
  gone = dataclasses.replace(cpp, compile=('/usr/bin/no++', 'main.cpp'))
  monkeypatch.setitem(languages.LANGUAGES, 'gone', gone)
  outcome = pool.run(sandbox.Job('gone', ADD_ONE['cpp'], '41'))
  assert outcome.reason.startswith('sandbox:')
  assert 'no program /usr/bin/no++' in outcome.reason


def test_no_calls_where_a_language_has_none(pool):
  with pytest.raises(ValueError, match='no function calls in sh'):
    pool.run(sandbox.Job('sh', ':', call=sandbox.Call('f', '[[],{}]')))
