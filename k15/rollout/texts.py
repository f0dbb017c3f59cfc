"""A rollout as a plain function, prompts to texts: what judges are given."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from k15.rollout import client
from k15.tokenizer import ByteTokenizer


def make_generate(
  rollout: Any, tokenizer: ByteTokenizer, max_tokens: int, temperature: float
) -> Callable[[Sequence[str]], list[str]]:
  """Returns prompts -> texts, one a prompt, in order.

  Every call samples anew.  A text that is not finished after `max_tokens` is
  given as far as it goes.

  Args:
    rollout: with weights.
    tokenizer: of prompts and texts.
    max_tokens: of a text, at least 1.
    temperature: above 0.
  """
  calls = itertools.count()

  def generate(prompts):
    call = next(calls)
    requests = [
      client.Request(
        group_id=i,
        sample_index=call,
        prompt=tokenizer.encode(prompt),
        response=np.zeros(0, np.int32),
        budget=max_tokens,
        temperature=temperature,
      )
      for i, prompt in enumerate(prompts)
    ]
    texts = [''] * len(requests)
    for completion in rollout.generate(requests):
      text = tokenizer.decode(completion.tokens)
      texts[completion.request.group_id] = text
    return texts

  return generate
