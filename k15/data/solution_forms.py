"""Forms of worked solutions: thinking in DeepSeek-R1's tags, and two languages.

A writer keeps its form most of the time, and may mix languages from line to
line: both are habits of a warm-up, as base models have them, that a reward for
the form or for one language can then be seen to change.
"""

import dataclasses
import re

import numpy as np

from k15.rewards.thinking import CLOSES
from k15.rewards.thinking import OPENS

# 'think' is R1's published output, thinking and then a summary; 'answer' is
# what R1-Zero's template asks for, with the summary in tags, too.
THINKING = ('none', 'think', 'answer')

# Words of `arithmetic_traces`; a word a line begins with is a phrase, too.
CHINESE = {
  'plan columns': '计划 竖式', 'plan digits': '计划 逐位',
  'plan search': '计划 搜索', 'give up': '放弃', 'guess': '猜测',
  'check': '验算', 'wait': '等等', 'want': '要求', 'try': '尝试', 'so': '得到',
  'yes': '对', 'no': '错',
}  # fmt: skip
_WORD = re.compile(rf'\b(?:{"|".join(CHINESE)})\b')


@dataclasses.dataclass(frozen=True)
class Form:
  """How a writer forms solutions.

  Attributes:
    thinking: one of THINKING.
    formless_rate: [0, 1], chance that a solution has no tags after all.
    mixing_rate: [0, 1], chance of each line of the thinking to be in Chinese.
  """

  thinking: str = 'none'
  formless_rate: float = 0.0
  mixing_rate: float = 0.0

  def write(self, solution: str, rng: np.random.Generator) -> str:
    """A solution, whose last line or sentence is its summary, in this form.

    A rate of 0 draws nothing from `rng`.
    """
    work, gap, summary = _parted(solution)
    if self.mixing_rate:
      work = '\n'.join(
        in_chinese(line) if rng.random() < self.mixing_rate else line
        for line in work.split('\n')
      )
    keeps = not self.formless_rate or rng.random() >= self.formless_rate
    if self.thinking == 'none' or not keeps:
      return f'{work}{gap}{summary}'
    if self.thinking == 'answer':
      summary = f'<answer>\n{summary}\n</answer>'
    return f'{OPENS}\n{work}{gap.rstrip()}\n{CLOSES}\n{summary}'


def in_chinese(line: str) -> str:
  """A line of `arithmetic_traces` with its words in Chinese; numbers stay."""
  return _WORD.sub(lambda match: CHINESE[match[0]], line)


def _parted(solution):
  """Working, what parts it from the summary, and that."""
  for gap in ('\n', '. '):
    work, found, summary = solution.rpartition(gap)
    if found:
      return work, gap, summary
  return '', '', solution
