"""What a question is: of a type to leave out, and its tags.  k1.5, section 2.1.

"We exclude questions that are prone to false positives, such as
multiple-choice, true/false and proof-based ones": a guess is right too often,
or nothing short can be compared.  Every rule here is a pattern that can be
read, in English and Chinese.

"We first use automatic filters ... followed by a tagging system that we use to
categorize prompts by domain and discipline, ensuring balanced representation
across different subject areas."  The paper names neither tags nor shares.

Fields of the file come first.  Where they are missing, the rules below count
which patterns a text shows; or a model is asked (`question`, `read_tag`).
"""

import dataclasses
import re

from k15.config import keys
from k15.data_types import Problem

KINDS = keys.QUESTION_TYPES


@dataclasses.dataclass(frozen=True)
class Finding:
  """Attributes:
  kind: one of KINDS.
  evidence: what in the question or answer says so.
  """

  kind: str
  evidence: str


# An option label stands alone: '(A)' but not the probability 'P(A)'.
_OPTION_STYLES = (
  r'(?<![\w\\)])[(（] *{0} *[)）]',
  r'(?:^|\n|\s{{2,}}|[;；]\s*)(?:\*\*)?{0}\s?[.)、．:：](?=\s*\S)',
  r'(?<![A-Za-z0-9(（]){0}[、．]\s*\S',
)
_FIGURE = re.compile(r'\[asy\].*?\[/asy\]', re.DOTALL)
_TYPEFACE = re.compile(
  r'\\(?:textbf|text|mathrm|mathbf|textrm|bf|rm|bullet)\b|[{}$*]|\\[ ~]'
)
_WIDE_SPACE = re.compile(r'\\q?quad\b|\\\\')
_LABEL_ANSWER = re.compile(r'\(?\s*[A-J]\s*\)?\.?')
_ASKS_FOR_LABEL = re.compile(
  r'letters? of (?:the|all)|correct (?:option|choice|letter)|answer choices?'
  r'|\b(?:enter|write|type) ["“`\']+[A-J]["”\'] (?:for|if)\b'
  r'|选择题|单选|多选',
  re.IGNORECASE,
)
_WHICH = re.compile(
  r'\bwhich (?:one |two |ones )?(?:of|among) (?:the following|these|those'
  r'|the (?:options|choices|statements) (?:below|above))\b'
  r'|(?:下列|以下|下面)[^。？?\n]{0,30}?(?:的是|哪[一个项些种]|正确的有|错误的有)',
  re.IGNORECASE,
)
_TRUTH_ANSWER = re.compile(
  r'true|false|yes|no|correct|incorrect|t|f|对|错|是|否|不是|正确|错误|真|假'
  r'|不正确|√|×|✓|✗',
  re.IGNORECASE,
)
_TRUTH_QUESTION = re.compile(
  r'^\W*(?:true or false|true/false|t/f)\b|\btrue or false\s*[?:.]?\s*$'
  r'|\b(?:is|are|was|decide|state|determine|say)\b[^.?!\n]{0,200}?'
  r'\b(?:whether|true or false)\b[^.?!\n]{0,80}?\b(?:true|false)\b'
  r'|判断(?:题|正误|对错|真假)|判断[^。]{0,60}(?:是否|正误|对错|真假)'
  r'|(?:对还是错|是否(?:正确|成立)|正确吗|对吗)',
  re.IGNORECASE,
)
# Where an order is given: at the start of a sentence, or after these words.
_ORDER = (
  r'(?:^|[.!?:;。；：？]\s*|[\])）]\s+|\n\s*|\d[.)、]\s*'
  r'|\b(?:and|then|also|hence|thus|please|must|should|can you)\s+|[,，]\s*)'
)
_PROOF = re.compile(
  _ORDER
  + r'(?:(?:dis)?prove\s+(?:that|or\b|the\b|it\b|this\b|by\b|for\b|if\b|all\b'
  r'|each\b|every\b|there\b|why\b|rigorously|[:$\\(])'
  r'|(?:show|verify|demonstrate|establish|justify)\s+(?:that|why)\b'
  r'|(?:give|write|provide|outline)\s+an?\s+(?:\w+\s+)?proof\b)'
  r'|\b(?:use|using)\b[^.?!\n]{0,200}?\bto\s+(?:prove|show)\s+that\b',
  re.IGNORECASE,
)
_CHINESE_PROOF = re.compile(
  r'求证|试证|(?:^|[。；，：:,;.\s)）]|请|并|试|以此|由此)证明(?!书|人|文件|材料|了)'
)
_ALSO_ASKS = re.compile(
  r'(?:^|[.!?:;,]\s*|\b(?:and|then|hence|also)\s+)'
  r'(?:find|compute|determine|evaluate|calculate|what\b|how many|how much)'
  r'|求(?!证)|计算|多少',
  re.IGNORECASE,
)


def question_type(problem: Problem) -> Finding | None:
  """The reason to leave a question out, or None.

  Closed choices among named things ("even, odd or neither") pass here and are
  left to the guesses; a proof that also asks for a value passes because that
  value can be judged.
  """
  prompt = _FIGURE.sub(' ', problem.prompt)
  answer = _TYPEFACE.sub('', problem.answer).strip()
  return (
    _multiple_choice(prompt, answer)
    or _true_false(prompt, answer)
    or _proof(prompt, answer)
  )


def options(text: str) -> str:
  """The letters of the longest list of options, 'ABCD'; '' without one.

  Labels are of one style and in order from A (or a), three at least.
  """
  text = _TYPEFACE.sub('', _WIDE_SPACE.sub('    ', text))
  longest = ''
  for style in _OPTION_STYLES:
    for letters in ('ABCDEFGHIJ', 'abcdefghij'):
      found, start = '', 0
      for letter in letters:
        match = re.compile(style.format(letter)).search(text, start)
        if not match:
          break
        found, start = found + letter, match.end()
      longest = max(longest, found, key=len)
  return longest if len(longest) >= 3 else ''


def _multiple_choice(prompt, answer):
  which = _WHICH.search(prompt)
  asks = _ASKS_FOR_LABEL.search(prompt)
  labels = options(prompt)
  is_label = bool(_LABEL_ANSWER.fullmatch(answer))
  # Three conditions (A) to (C), or parts (a) to (e), are no options.
  is_list = labels[:1] == 'A' and len(labels) > 3
  if labels and (is_list or which or asks or is_label):
    return Finding(KINDS[0], f'options {labels[0]} to {labels[-1]}')
  if which:
    return Finding(KINDS[0], f'{which[0]!r}')
  if asks and is_label:
    return Finding(KINDS[0], f'{asks[0]!r}, and the answer is {answer!r}')
  return None


def _true_false(prompt, answer):
  # A single letter is as often a variable or a point.
  if _TRUTH_ANSWER.fullmatch(answer.rstrip('.。')) and (
    len(answer) > 1 or not answer.isascii()
  ):
    return Finding(KINDS[1], f'the answer is {answer!r}')
  asked = _TRUTH_QUESTION.search(prompt)
  # In how many ways can one answer ten questions that are true or false?
  if asked and not any(char.isdigit() for char in answer):
    return Finding(KINDS[1], f'{asked[0].strip()[:80]!r}')
  return None


def _proof(prompt, answer):
  found = _PROOF.search(prompt) or _CHINESE_PROOF.search(prompt)
  if not found:
    return None
  rest = prompt[: found.start()] + ' . ' + prompt[found.end() :]
  if answer and _ALSO_ASKS.search(rest):
    return None
  return Finding(KINDS[2], f'{found[0].strip(" .,;:")!r}')


OTHER = 'other'
# Domain -> discipline -> patterns, each worth one point when it is there at
# all; the discipline with most points wins, the first of equals.
RULES = {
  'mathematics': {
    'counting & probability': (
      r'probabilit', r'\bhow many (?:different |distinct )?ways\b',
      r'\bdice?\b',
      r'\brandom', r'\barrange', r'permutation|combination', r'\\d?t?binom',
      r'\bexpected (?:value|number)', r'\bcoins?\b.*\b(?:flip|toss|heads)',
      r'\bchoose|\bchosen|\bselect', r'\bcards?\b|\bmarbles?\b|\bballs?\b',
      r'概率|排列|组合',
    ),
    'number theory': (
      r'\bprimes?\b', r'\bdivis', r'\bremainder', r'\bmod\b|\\pmod|\bmodul',
      r'\bgcd\b|\blcm\b|common (?:divisor|factor|multiple)',
      r'\bdigits?\b', r'\bbase[- ]?\$?\d|\bbase\b.{0,12}\d|\d_\{?\d+\}?',
      r'\bmultiples?\b', r'\bcongruent to\b|\bfactorial', r'整除|质数|余数',
    ),
    'precalculus': (
      r'\\(?:sin|cos|tan)\b', r'\\(?:cot|sec|csc|arc\w+)\b', r'\\mathbf',
      r'\bvectors?\b|\bmatri(?:x|ces)', r'\\begin\{[pbv]matrix\}',
      r'\btheta|\\theta', r'\bpolar|\bspherical|\bcylindrical coord',
      r'\bcomplex number', r'\bprojection|\\operatorname\{proj\}',
      r'\bdeterminant', r'三角函数|向量|矩阵',
    ),
    'geometry': (
      r'\btriangle|\\triangle', r'\bcircles?\b', r'\bangles?\b|\\angle',
      r'\barea\b', r'\bperimeter|\bcircumference|\bvolume\b',
      r'\brectang|\bsquares? [A-Z$]|\btrapezoid|\bparallelogram|\bpolygon',
      r'\bradius|\bradii|\bdiameter', r'\[asy\]',
      r'\bperpendicular|\bparallel',
      r'\\overline|\bmidpoint|\bbisect',
      r'\bcylinder|\bcone\b|\bsphere|\bcube\b',
      r'三角形|圆|面积|体积',
    ),
    'calculus': (
      r'\bderivative', r'\bintegra(?:l|te)\b|\\int\b',
      r'\\lim\b|\blimit of\b',
      r'\bdifferentia', r'导数|积分|极限',
    ),
    'algebra': (
      r'\bequation', r'\bsolve\b', r'\bsolutions?\b',
      r'\bpolynomial|\bquadratic',
      r'\broots?\b', r'\bfunctions?\b|\bf\(x\)', r'\bexpression|\bsimplify',
      r'\bfactor(?:ed|ization)?\b', r'\bslope|\bintercept', r'\bgraph',
      r'\\log|\blogarithm', r'\bvalues? of \$', r'\bsequence|\bseries\b',
      r'\binequalit', r'\b[f-h]\(', r'\b[a-z] ?\^ ?\{?\d', r'[xyz] ?[-+=<>]',
      r'\breal numbers?\b|\bconstants?\b|\bparabola|\bellipse|\bhyperbola',
      r'\\sqrt|\\sum|\\lfloor', r'\bevaluate\b', r'方程|函数|不等式|数列',
    ),
    'word problems': (
      r'\bhow much\b', r'\bdollars?\b|\bcents?\b|\bcost|\\\$',
      r'\bhours?\b|\bminutes?\b|\bdays?\b|\bweeks?\b|\bmonths?\b',
      r'\b(?:he|she|his|her)\b',
      r'\bhow many \w+ (?:did|do|does|were|will|are)\b',
      r'\beach\b', r'\btotal\b',
      r'\b(?:buys?|sells?|bought|sold|pays?|earns?|spends?)\b', r'\bleft\b',
      r'\bmore than\b|\btwice\b|\bhalf\b|\bless than\b|\bthan\b',
      r'一共|多少元|每天',
    ),
  },
  'physics': {
    'mechanics': (
      r'\bvelocity|\bacceleration', r'\bnewtons?\b|\bforces?\b',
      r'\bfriction',
      r'\bkinetic|\bpotential energy', r'\bmomentum|\bprojectile', r'\bm/s\b',
      r'\bmass of\b.*\bkg\b', r'速度|加速度|质量|摩擦',
    ),
    'electromagnetism': (
      r'\bvolt|\bampere|\bohms?\b', r'\bresist(?:or|ance)|\bcapacit',
      r'\bmagnetic|\belectric field|\bcoulomb', r'\bcircuit\b',
      r'电流|电压|电阻',
    ),
  },
  'chemistry': {
    OTHER: (
      r'\bmoles?\b|\bmolar', r'\breagent|\breaction\b', r'\b(?:atom|ion)s?\b',
      r'\bpH\b|\bacids?\b', r'\bcompound|\bmolecul', r'化学|摩尔|溶液',
    ),
  },
  'biology': {
    OTHER: (
      r'\bgenes?\b|\bgenetic|\ballele', r'\bDNA\b|\bRNA\b',
      r'\bprotein|\benzyme',
      r'\bcells?\b.*\b(?:membrane|nucleus|divi)', r'\bspecies\b',
      r'细胞|基因',
    ),
  },
  'coding': {
    OTHER: (
      r'\b(?:python|java|c\+\+|javascript)\b',
      r'\bwrite a (?:function|program)',
      r'\bdef \w+\(', r'\bstdin|\bstandard input', r'\bthe first line\b',
      r'\breturn the\b', r'\bassert\b', r'\barray\b|\bstring\b',
      r'编写程序|函数返回',
    ),
  },
  'logic': {
    OTHER: (
      r'\bknights? (?:and|or) knaves?', r'\balways (?:lie|tell)',
      r'\blogic(?:al|ally)?\b', r'\bif and only if\b', r'\bpuzzle|\briddle',
      r'\bwho is (?:the|telling)\b', r'逻辑|说谎|真话',
    ),
  },
}  # fmt: skip
GENERAL = 'general reasoning'
_PATTERNS = [
  (domain, discipline, [re.compile(p, re.IGNORECASE) for p in patterns])
  for domain, disciplines in RULES.items()
  for discipline, patterns in disciplines.items()
]
_FORMULA = re.compile(r'\d|\\[a-zA-Z]+|\$[^$]+\$')
_QUESTION = """Name the domain and the discipline of a problem.
Domains: {domains}, {general}.
Disciplines of mathematics: {disciplines}. Of the others: in a word or two.
Answer with one line, such as
mathematics / number theory

Problem: {prompt}
Answer:"""
_LINE = re.compile(
  r'^[\s*`"]*([\w &-]{2,40}?)\s*/\s*([\w &-]{2,40}?)[\s*`".]*$'
)


def by_rules(prompt: str) -> tuple[str, str]:
  """Domain and discipline with the most patterns in the text.

  A text that shows none is ('mathematics', 'other') if it has a number or a
  formula, else ('general reasoning', 'other').
  """
  best, tag = 0, ('mathematics' if _FORMULA.search(prompt) else GENERAL, OTHER)
  for domain, discipline, patterns in _PATTERNS:
    points = sum(bool(pattern.search(prompt)) for pattern in patterns)
    if points > best:
      best, tag = points, (domain, discipline)
  return tag


def question(prompt: str) -> str:
  """What a model is asked instead."""
  return _QUESTION.format(
    domains=', '.join(RULES),
    general=GENERAL,
    disciplines=', '.join(RULES['mathematics']),
    prompt=prompt,
  )


def read_tag(text: str) -> tuple[str, str] | None:
  """The tag in a model's answer; None unless it names a known domain."""
  for line in text.strip().splitlines()[:3]:
    match = _LINE.match(line)
    if match and match[1].casefold() in (*RULES, GENERAL):
      return match[1].casefold(), match[2].casefold()
  return None
