"""The tiny policy as a JetStream engine."""

import small_engine

from k15.rollout import engine as engine_lib


def make_engine(decoder=None):
  return engine_lib.PolicyEngine(
    decoder or small_engine.make_decoder(),
    small_engine.TOKENIZER,
    load=small_engine.make_params,
    seed=9,
  )
