"""The tiny policy as a JetStream engine."""

import small_engine

from k15.serving import engine


def make_engine(decoder=None):
  return engine.PolicyEngine(
    decoder or small_engine.make_decoder(),
    small_engine.TOKENIZER,
    load=small_engine.make_params,
    seed=9,
  )
