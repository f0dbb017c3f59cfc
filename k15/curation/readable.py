"""Which responses read well enough to be learnt from: DeepSeek-R1, 2.3.3.

R1 leaves out "chain-of-thought with mixed languages, long paragraphs, and code
blocks" before it learns from its own samples.  Where each begins is not
published.
"""

import dataclasses
import re

from k15.rewards import rules

_PARAGRAPHS = re.compile(r'\n[^\S\n]*\n')


@dataclasses.dataclass(frozen=True)
class Readable:
  """What is asked of a response; all NP.

  Attributes:
    script: of its thinking, one of `rules.SCRIPTS`; '' any.
    least_script_share: [0, 1], of the words of its thinking.
    longest_paragraph: characters between blank lines; 0: any.
    drop_code_blocks: whether a fenced block of code is a fault.
  """

  script: str = ''
  least_script_share: float = 0.95
  longest_paragraph: int = 0
  drop_code_blocks: bool = True

  def fault(self, response: str) -> str:
    """The first fault of a response, tags and all; '' where it has none.

    'mixed_languages', which a thinking without words is not; 'long_paragraph';
    'code_block'.
    """
    if self.drop_code_blocks and '```' in response:
      return 'code_block'
    most = self.longest_paragraph
    if most and max(map(len, _PARAGRAPHS.split(response))) > most:
      return 'long_paragraph'
    if self.script and self._is_mixed(response):
      return 'mixed_languages'
    return ''

  def _is_mixed(self, response):
    shares = {s: rules.language_consistency(response, s) for s in rules.SCRIPTS}
    # Numbers alone are of no language, and of none too many.
    return any(shares.values()) and (
      shares[self.script] < self.least_script_share
    )
