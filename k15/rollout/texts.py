"""A rollout as a plain function, prompts to texts: what judges are given."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from k15 import streams
from k15.rollout.requests import Request, Rollout, Stop
from k15.tokenizer import ByteTokenizer


def make_generate(
  rollout: Rollout,
  tokenizer: ByteTokenizer,
  max_prompt_tokens: int,
  max_tokens: int,
  temperature: float,
  encode: Callable[[str], np.ndarray] | None = None,
  finished_only: bool = False,
  first_call: int = 0,
) -> Callable[[Sequence[str]], list[str]]:
  """Returns prompts -> texts, one a prompt, in order.

  Every call samples anew.  A text that is not finished after `max_tokens` is
  given as far as it goes; a prompt that is too long is answered by ''.

  Args:
    rollout: with weights.
    tokenizer: of prompts and texts.
    max_prompt_tokens: longer prompts are not asked.
    max_tokens: of a text, at least 1.
    temperature: above 0.
    encode: prompt -> tokens, through a chat template perhaps; None: the
      tokenizer's.
    finished_only: whether a text that the policy did not end becomes ''.
    first_call: number of the first call; a call's random numbers are its own.
  """
  calls, ids = itertools.count(first_call), streams.IDS['texts']
  encode = encode or tokenizer.begin

  def generate(prompts):
    call = next(calls)
    encoded = [encode(prompt) for prompt in prompts]
    requests = [
      Request(
        group_id=ids[i],
        sample_index=call,
        prompt=tokens,
        response=np.zeros(0, np.int32),
        budget=max_tokens,
        temperature=temperature,
      )
      for i, tokens in enumerate(encoded)
      if len(tokens) <= max_prompt_tokens
    ]
    texts = [''] * len(encoded)
    for completion in rollout.generate(requests):
      if finished_only and completion.stop is not Stop.ENDED:
        continue
      text = tokenizer.decode(completion.tokens)
      texts[ids.index(completion.request.group_id)] = text
    return texts

  return generate
