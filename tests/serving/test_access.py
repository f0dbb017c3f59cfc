"""Nobody listens to other hosts by accident."""

import pytest

from k15.serving import access as access_lib
from k15.serving.access import Access


@pytest.mark.parametrize('host', ['127.0.0.1', '127.9.9.9', '::1', 'localhost'])
def test_loopback_needs_nothing(host):
  access_lib.check_host(host, Access())


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '10.0.0.7', 'worker-3', ''])
def test_other_hosts_need_something(host):
  with pytest.raises(ValueError, match='the worker needs a token'):
    access_lib.check_host(host, Access())
  access_lib.check_host(host, Access(token='secret'))
  access_lib.check_host(host, Access(tls=(b'a', b'b', b'c')))


def test_where_the_token_comes_from(tmp_path):
  file = tmp_path / 'token'
  file.write_text('from-file\n')
  environment = {access_lib.TOKEN_VARIABLE: ' from-environment '}
  make = access_lib.make
  assert make(environment={}) == Access()
  assert make(environment={}).metadata == ()
  assert make(environment=environment).token == 'from-environment'
  access = make(str(file), environment=environment)
  assert access.metadata == (('authorization', 'Bearer from-file'),)
  file.write_text(' \n')
  with pytest.raises(ValueError, match='token file .* is empty'):
    make(str(file), environment={})
  file.write_text('two\nlines')
  with pytest.raises(ValueError, match='printable ASCII'):
    make(str(file), environment={})
  with pytest.raises(OSError):
    make(str(tmp_path / 'none'), environment={})


def test_tls_is_mutual(tmp_path):
  names = [tmp_path / name for name in ('authority', 'certificate', 'key')]
  for name in names:
    name.write_text(name.name)
  paths = [str(name) for name in names]
  access = access_lib.make('', *paths, environment={})
  assert access.tls == (b'authority', b'certificate', b'key')
  with pytest.raises(ValueError, match='authority, certificate and key'):
    access_lib.make('', paths[0], environment={})
