"""JetStream is imported, and nobody else notices."""

import subprocess
import sys
import textwrap

import jax.numpy as jnp
import pytest

from k15.serving import jetstream_adapter


def test_an_import_changes_nothing_and_prints_nothing():
  script = """
    import logging, sys
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    from k15 import recipe
    from k15.report import run_page
    from k15.rewards import scoring
    from k15 import serve
    from k15.serving import jetstream_adapter, remote
    assert (root.level, list(root.handlers)) == before
    jetstream_adapter.orchestrator.logging.info('%d', 1)
    assert (root.level, list(root.handlers)) == before
    for name in ('tensorflow', 'seqio', 'tiktoken'):
      assert not [m for m in sys.modules if m.split('.')[0] == name], name
  """
  done = subprocess.run(
    [sys.executable, '-c', textwrap.dedent(script)],
    capture_output=True,
    text=True,
    check=False,
    env={'PYTHONPATH': ':'.join(sys.path), 'JAX_PLATFORMS': 'cpu'},
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_trees_are_deleted():
  tree = {'a': jnp.zeros(3), 'b': [jnp.ones(2), 'text', None]}
  jetstream_adapter.orchestrator.delete_pytree(tree)
  assert tree['a'].is_deleted() and tree['b'][0].is_deleted()


def test_absent_tokenizers_say_so():
  with pytest.raises(ImportError, match='seqio and tiktoken are not loaded'):
    jetstream_adapter.token_utils.load_vocab('some/file')
