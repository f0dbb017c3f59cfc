"""The documents of a stage of pretraining: read or made once, as tokens.

Kimi k1.5, section 2.5.1.  They are in a mapped file of the workdir; how files
were cleaned is in `<stage>_tokens/cleaned.json`.  Where the policy sees and
`image_share` asks for it, some have pictures: those of the stage's files, or
the lessons of the task.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from k15 import files
from k15.checkpoints import stage_inputs
from k15.data import conversations
from k15.data import documents
from k15.data import token_store
from k15.data.documents import Document
from k15.data.documents import DocumentStore
from k15.devices import hosts
from k15.runtime.context import Context
from k15.runtime.families import documents as generated_documents
from k15.runtime.families import lessons as lessons_lib
from k15.stages.pretraining import albums
from k15.stages.pretraining import questions
from k15.vision.shown_rows import Shown

DESCRIBED = 'pictures'  # The domain of pictures and what they show.


def shown_of(context: Context, stage: str) -> Shown | None:
  """What lays out the pictures of a stage; None: it learns from texts alone.

  Then its programs are those of a policy that sees nothing.
  """
  share = context.config[stage].get('image_share', 0.0)
  return context.shown if share else None


def open_store(context: Context, stage: str, is_new: bool) -> DocumentStore:
  """The stage's documents as tokens, made by the first process.

  Args:
    is_new: whether no step has been taken yet, and files may have changed.

  Raises:
    DataError: something is wrong with the files, or they changed.
  """
  config, task = context.config, context.task
  group, directory = config[stage], context.workdir / f'{stage}_tokens'
  asked = questions.files_of(config, stage, context.workdir)
  long_files = group.get('long_files', ())
  paths = [*group.files, *asked, *long_files]
  settings = dict(
    documents=documents.FORMAT,
    held_out_share=config.documents.held_out_share,
    num_long=len(long_files),
    evaluated=sorted(
      '\n'.join((p.prompt, *p.digests)) for p in task.kept_out.problems
    ),
    tokenizer=stage_inputs.tokenizer_of(config),
    generated=[]
    if group.files
    else generated_documents.facts_of(config, stage),
  )
  shown, longest = shown_of(context, stage), lengths_of(config, stage)[-1]
  if shown:
    settings['shown'] = repr(shown.sight), shown.row_patches, longest
  if hosts.is_first():
    key = token_store.fingerprint(paths, settings)
    if token_store.has_to_be_made(directory, key, stage, is_new):
      documents.make(
        directory,
        key,
        _documents(context, stage, shown),
        documents.make_encode(task.tokenizer, context.layout.sight),
        config.documents.held_out_share,
        functools.partial(_is_evaluated, task),
        longest,
        shown,
      )
      files.replace_json(directory / 'cleaned.json', _cleaned(paths))
  hosts.wait(f'{stage} tokens')
  return DocumentStore(directory)


def lengths_of(config: Any, stage: str) -> tuple[int, ...]:
  """Tokens of the rows of a stage, one length after the other."""
  group = config[stage]
  return tuple(group.lengths) if 'lengths' in group else (group.row_tokens,)


def patches_of(store: DocumentStore, shown: Shown | None) -> np.ndarray | None:
  """int64 [N], patches of all documents' pictures; None: none are shown."""
  if shown is None:
    return None
  images = map(store.images, range(len(store)))
  return np.array(
    [sum(shown.patches_of(own).values()) for own in images], np.int64
  )


def _cleaned(paths):
  """Funnels of the files that `clean_documents` has left, for the report."""
  funnels = {
    str(path): files.read_json(pathlib.Path(path).with_name('funnel.json'))
    for path in paths
    if pathlib.Path(path).name == 'documents.jsonl'
  }
  return {path: funnel for path, funnel in funnels.items() if funnel}


def _is_evaluated(task, document):
  """Whether it asks what is evaluated, of all its pictures or of one."""
  digests = tuple(image.digest for image in document.images)
  shown = {digests, *((digest,) for digest in digests)}
  return any(task.kept_out.find(document.text, each) for each in shown)


def _documents(context, stage, shown) -> Iterator[Document]:
  """Of the stage's files; without any, generated ones."""
  for document in _all_documents(context, stage, shown):
    if document.images and not shown:
      raise conversations.DataError(
        f'{document.where}: it has {len(document.images)} pictures, and stage'
        f' {stage} learns from texts alone'
      )
    yield document


def _all_documents(context, stage, shown):
  group = context.config[stage]
  if not group.files:
    yield from generated_documents.make(context.config, stage)
  if not group.files and shown:
    yield from _lessons(context, stage)
    if stage == 'long_context' and group.full_attention_share:
      yield from albums.learnt(context, shown)
  asked = questions.files_of(context.config, stage, context.workdir)
  for path in [*group.files, *asked]:
    yield from documents.read(path)
  for path in group.get('long_files', ()):
    yield from documents.read(path, is_long=True)


def _lessons(context, stage):
  """Pictures and what they show, or what was answered about them."""
  for example in context.task.lessons[stage].learnt:
    is_read = lessons_lib.is_read(example)
    yield albums.document_of(
      context.task, example, DESCRIBED if is_read else questions.PICTURES
    )
