"""The chat template of a checkpoint: where it is, and how it is rendered.

As in transformers: sandboxed Jinja with what the templates of the hub call.
"""

import datetime
import json
import pathlib
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

from k15.hf_fields import Fields

FILE = 'chat_template.jinja'


def read(directory: pathlib.Path, settings: Fields) -> jinja2.Template | None:
  """The template of a directory, None if it has none.

  Args:
    directory: of the checkpoint; its file goes before the settings.
    settings: of tokenizer_config.json.

  Raises:
    ValueError: a malformed template, or several of which none is the default.
  """
  path = directory / FILE
  try:
    where, source = str(path), path.read_text(encoding='utf-8')
  except FileNotFoundError:
    where, source = settings.where, _source(settings)
  except (OSError, ValueError) as error:
    raise ValueError(f'{path} cannot be read: {error}') from None
  if source is None:
    return None
  try:
    return _environment().from_string(source)
  except (jinja2.TemplateError, RecursionError) as error:
    raise ValueError(f'{where}: the chat template: {error}') from None


def render(template: jinja2.Template, **variables: Any) -> str:
  """The text of a template.

  Raises:
    ValueError: it refuses what it is given, in one line.
  """
  # Templates ask whether these are none, which what is undefined is not.
  variables = dict(tools=None, documents=None) | variables
  try:
    return template.render(variables)
  except Exception as error:  # A program of its own, wrong in its own ways.
    text = ' '.join(str(error).split()) or type(error).__name__
    raise ValueError(f'the chat template refuses: {text}') from None


def _source(settings):
  """One text, or that named 'default' of several."""
  given = settings.values.get('chat_template')
  if isinstance(given, list):
    try:
      given = {entry['name']: entry['template'] for entry in given}
    except (TypeError, KeyError):
      raise settings.refuse(
        'chat_template', "a text, or objects with 'name' and 'template'"
      ) from None
  if isinstance(given, dict):
    if 'default' not in given:
      raise ValueError(
        f'{settings.where}: chat_template has {sorted(map(str, given))} and no'
        f" 'default'; the one that is meant can be written to {FILE}"
      )
    given = given['default']
  if not isinstance(given, str | None):
    raise settings.refuse('chat_template', 'a text')
  return given


class _Generation(jinja2.ext.Extension):
  """`{% generation %}` is around what the assistant writes, and adds nothing.

  Which tokens are learnt from, `conversations` finds from any template.
  """

  tags = frozenset({'generation'})

  def parse(self, parser):
    line = next(parser.stream).lineno
    body = parser.parse_statements(('name:endgeneration',), drop_needle=True)
    call = self.call_method('_body')
    return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

  def _body(self, caller):
    return caller()


def _environment():
  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=[_Generation, jinja2.ext.loopcontrols],
  )
  environment.filters['tojson'] = _to_json
  environment.globals |= dict(
    raise_exception=_raise_exception, strftime_now=_strftime_now
  )
  return environment


def _to_json(
  value, ensure_ascii=False, indent=None, separators=None, sort_keys=False
):
  """Jinja's own would write HTML."""
  return json.dumps(
    value,
    ensure_ascii=ensure_ascii,
    indent=indent,
    separators=separators,
    sort_keys=sort_keys,
  )


def _raise_exception(message):
  raise jinja2.TemplateError(message)


def _strftime_now(form):
  return datetime.datetime.now().strftime(form)
