"""The only page that imports JetStream: google-jetstream 0.2.2.

Its orchestrator module, when imported, turns the root logger to DEBUG and
prints everything; its tokenizers import seqio, and with it TensorFlow; and it
calls `jax.tree_map`, which jax no longer has.  All this is put right here,
inside JetStream's own modules; nothing of the process is left changed.
"""

import contextlib
import importlib.metadata
import logging
import sys
import types

import jax

from k15 import quiet_imports
from k15.config import extras

# Exactly this one: names inside its modules are replaced below, and another
# version may use others without any error.
_VERSION = '0.2.2'


class _Unloaded:
  """Stands for a class of a library that is not loaded."""

  def __init__(self, *args, **kwargs):
    raise ImportError('the tokenizers of seqio and tiktoken are not loaded')


def _placeholders():
  """Modules that satisfy the imports of JetStream's tokenizers."""
  # JetStream's test vocabulary inherits from Vocabulary: any class will do.
  vocabularies = dict(
    Vocabulary=type('Vocabulary', (), {}), SentencePieceVocabulary=_Unloaded
  )
  contents = {
    'seqio': {},
    'seqio.vocabularies': vocabularies,
    'tiktoken': dict(Encoding=_Unloaded),
    'tiktoken.load': dict(load_tiktoken_bpe=_Unloaded),
  }
  modules = {name: types.ModuleType(name) for name in contents}
  for name, values in contents.items():
    modules[name].__dict__.update(values)
  return modules


@contextlib.contextmanager
def _changing_nothing():
  """Lends placeholders to the imports inside; restores the root logger."""
  placeholders = _placeholders()
  real = {name: sys.modules.get(name) for name in placeholders}
  sys.modules.update(placeholders)
  try:
    with quiet_imports.unchanged():
      yield
  finally:
    for name, module in real.items():
      if module is None:
        del sys.modules[name]
      else:
        sys.modules[name] = module


try:
  _found = importlib.metadata.version('google-jetstream')
except importlib.metadata.PackageNotFoundError:
  raise ModuleNotFoundError(
    extras.sentence('a rollout worker', 'jetstream', 'serve'), name='jetstream'
  ) from None
if _found != _VERSION:
  raise ImportError(
    f'google-jetstream {_found} is installed, and to serve a model takes'
    f' {_VERSION}: pip install google-jetstream=={_VERSION}'
  )

with _changing_nothing():
  from jetstream.core import config_lib
  from jetstream.core import orchestrator
  from jetstream.core import server_lib
  from jetstream.core.metrics import prometheus
  from jetstream.core.proto import jetstream_pb2
  from jetstream.core.proto import jetstream_pb2_grpc
  from jetstream.core.utils.async_multifuture import AsyncMultifuture
  from jetstream.core.utils.return_sample import ReturnSample
  from jetstream.engine import mock_engine
  from jetstream.engine import token_utils
  from jetstream.engine.engine_api import Engine
  from jetstream.engine.engine_api import ResultTokens
  from jetstream.engine.tokenizer_api import Tokenizer
  from jetstream.engine.tokenizer_pb2 import TokenizerParameters


def _delete_pytree(tree):
  """Frees the arrays of a tree."""
  for leaf in jax.tree.leaves(tree):
    if isinstance(leaf, jax.Array):
      leaf.delete()


# JetStream's own calls `jax.tree_map`; its driver finds it by this name.
orchestrator.delete_pytree = _delete_pytree
# `logging.info` gives a root logger without handlers one; a logger does not.
for _module in (orchestrator, server_lib, token_utils):
  _module.logging = logging.getLogger('jetstream')

ActiveRequest = orchestrator.ActiveRequest
LLMOrchestrator = orchestrator.LLMOrchestrator
JetStreamServer = server_lib.JetStreamServer

__all__ = [
  'ActiveRequest',
  'AsyncMultifuture',
  'Engine',
  'JetStreamServer',
  'LLMOrchestrator',
  'ResultTokens',
  'ReturnSample',
  'Tokenizer',
  'TokenizerParameters',
  'config_lib',
  'jetstream_pb2',
  'jetstream_pb2_grpc',
  'mock_engine',
  'orchestrator',
  'prometheus',
  'server_lib',
  'token_utils',
]
