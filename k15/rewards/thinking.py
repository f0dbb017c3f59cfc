"""What of a response is thought, and what is said: only the latter counts.

A thinking is closed by '</think>'; it is opened by '<think>' in the response,
or by the prompt that ends on it, as some chat templates do.  Judges see no
prompt: `Scorer.submit` puts what it has opened in front of the response.
"""

OPENS, CLOSES = '<think>', '</think>'


def said(response: str) -> str | None:
  """What follows the thinking; None where a thinking is never closed."""
  after = response.rpartition(CLOSES)[2]
  return None if OPENS in after else after


def opening_of(prompt: str) -> str:
  """'<think>' where a prompt, template and all, ends on it; else ''."""
  return OPENS if prompt.rstrip().endswith(OPENS) else ''


def continued(prompt: str, text: str) -> str:
  """A text that is learnt after a prompt, without thinking begun twice."""
  has_both = prompt.rstrip().endswith(OPENS) and text.lstrip().startswith(OPENS)
  if not has_both:
    return text
  text = text.lstrip().removeprefix(OPENS)
  return text.lstrip('\n') if prompt.endswith('\n') else text
