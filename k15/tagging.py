"""Tags of a prompt set and its balance: Kimi k1.5, section 2.1.

"We first use automatic filters ... followed by a tagging system that we use to
categorize prompts by domain and discipline, ensuring balanced representation
across different subject areas."  The paper names neither tags nor shares.

Fields of the file come first.  Where they are missing, the rules below count
which patterns a text shows; or a model is asked (`question`, `read_tag`).
"""

import re

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
