"""Names of the hub: `org/name[@revision][/inside]`, where no path is meant.

What exists is always a path.  A revision is a branch, a tag or a commit, or one
of those that have a slash, 'refs/convert/parquet' and 'refs/pr/3'.  Inside a
data set a name goes on with a file, or with what files of a split begin with,
'openai/gsm8k/main/train'; inside a model with a GGUF file.
"""

import dataclasses
import os
import re
from typing import Any

DATA_SUFFIXES = ('.parquet', '.jsonl', '.jsonl.gz', '.json', '.csv')
_NAME = re.compile(
  r'(?P<repo>\w[\w.-]*/\w[\w.-]*)'
  r'(@(?P<revision>refs/(convert|pr)/[\w.-]+|[\w.-]+))?'
  r'(/(?P<inside>\w[^:*]*))?'
)


@dataclasses.dataclass(frozen=True)
class HubName:
  """Attributes:
  repo: 'org/name'.
  revision: as it is written; '' is the main branch.
  inside: file, or beginning of files; '' is all.
  is_model: of a model, not of a data set.
  """

  repo: str
  revision: str
  inside: str
  is_model: bool


def parse(text: Any, is_model: bool = False) -> HubName | None:
  """The name that a text is; None: it is, or is meant to be, a path.

  A text without a revision is a mistaken path where its first folder is here,
  or where it ends as a file of data and has two parts only.
  """
  if not isinstance(text, str) or os.path.exists(text):
    return None
  found = _NAME.fullmatch(text)
  if not found:
    return None
  repo, revision, inside = found.group('repo', 'revision', 'inside')
  inside = (inside or '').rstrip('/')
  if not revision and os.path.isdir(repo.partition('/')[0]):
    return None
  if not inside and repo.endswith((*DATA_SUFFIXES, '.gguf')):
    return None
  if is_model and inside and not inside.endswith('.gguf'):
    return None
  return HubName(repo, revision or '', inside, is_model)
