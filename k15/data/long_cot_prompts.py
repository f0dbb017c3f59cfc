"""The four processes of a long chain of thought: asked for, and found.

Kimi k1.5, section 2.2: planning (steps laid out before they are taken),
evaluation (intermediate steps judged), reflection (an approach reconsidered and
refined) and exploration (other solutions tried).  The paper's prompts are not
published; these are ours.  What shows a process is a phrase, so that anybody
can see why a response was kept.
"""

import re

PROCESSES = ('planning', 'evaluation', 'reflection', 'exploration')

# In turns, so that the responses to one problem do not all begin alike.
PROMPTS = (
  'Think about the problem below aloud, as on scratch paper.\n'
  '- Plan: before you compute anything, say what is asked and which steps'
  ' could lead there.\n'
  '- Evaluate: check each intermediate result before you build on it.\n'
  '- Reflect: when a check fails or something looks odd, say so, go back to'
  ' the last step you trust, and mend it.\n'
  '- Explore: where there is another way, try it too, and compare.\n'
  'Write all of it down as it happens, also what leads nowhere; the final'
  ' answer comes at the end.\n\nProblem:\n{problem}',
  'Here is a problem:\n\n{problem}\n\n'
  'Do not answer at once. First make a plan. Then follow it step by step,'
  ' and after each step verify that it holds. If you notice a mistake, stop,'
  ' say what was wrong, and correct it. Do not be content with the first idea:'
  ' consider an alternative, and see whether it agrees. Keep this whole train'
  ' of thought in your response, and end with the final answer.',
  'Solve the problem as a careful mathematician does who is not sure yet:'
  ' outline an approach, carry it out, test what you find against the'
  ' statement, doubt it, reconsider where a doubt is justified, and look at a'
  ' different approach before you settle. All of this belongs into your'
  ' response; the final answer is its last line.\n\n{problem}',
)

# Phrases of English, and those of the writer of `k15.data.arithmetic_traces`.
_PATTERNS = {
  'planning': (
    r'\bplan\b',
    r'\b(?:outline|strategy|approach)\b',
    r"\bfirst,? (?:i|we|let's|let us)\b",
    r'\bbreak (?:it|this|the problem) (?:down|into)\b',
  ),
  'evaluation': (
    r'\b(?:check|verify|verif\w+|double-check)\b',
    r'\b(?:does|do) (?:this|that|it|these|they) (?:hold|work|fit|agree)\b',
    r'\b(?:plug|substitut)\w* .{0,30}\bback\b',
    r'(?m)^try .* (?:yes|no)$',
  ),
  'reflection': (
    r'\bwait\b',
    r'\b(?:hmm|on second thought)\b',
    r'\b(?:mistake|reconsider|rethink|re-?examine)\b',
    r"\bthat(?:'s| is| was) (?:wrong|not right|incorrect)\b",
  ),
  'exploration': (
    r'\balternative(?:ly)?\b',
    r'\b(?:another|a different|other) (?:way|approach|method|idea)\b',
    r'\bwhat if\b',
    r'(?m)^try .*\n(?:.*\n)*?try ',
  ),
}
_FINDERS = {
  process: tuple(re.compile(p, re.IGNORECASE) for p in patterns)
  for process, patterns in _PATTERNS.items()
}


def engineer(problem: str, sample: int) -> str:
  """The prompt that asks for the four processes; in turns by the sample."""
  return PROMPTS[sample % len(PROMPTS)].replace('{problem}', problem)


def shown(text: str) -> dict[str, str]:
  """The processes that a response shows, each with the phrase that shows it.

  A phrase is a sign, not a proof: it says that the words are there.
  """
  found = {}
  for process, finders in _FINDERS.items():
    matches = (finder.search(text) for finder in finders)
    match = next(filter(None, matches), None)
    if match:
      found[process] = ' '.join(match[0].split())[:40]
  return found
