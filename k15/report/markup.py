"""HTML of the report: every function takes values and returns markup.

What a model wrote is hostile: all text passes through `text`, and the page
forbids scripts and anything from outside itself.
"""

import base64
import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SHOWN_CHARS = 1600, 500  # of a long response: its beginning and its end


def text(value: Any) -> str:
  """Any text, safe inside an element or a quoted attribute.

  Characters that would not show, or would reorder what is beside them, are
  written as their code points.
  """
  shown = [
    char
    if char in '\n\t' or unicodedata.category(char)[0] != 'C'
    else f'\\u{ord(char):04x}'
    for char in str(value)
  ]
  return html.escape(''.join(shown))


def document(title: str, body: str, style: str = '') -> str:
  """A whole page; `style` is added to the rules that all pages share."""
  return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""


def section(title: str, parts: Iterable[str], intro: str = '') -> str:
  """A heading and what belongs to it; nothing where there is nothing."""
  content = '\n'.join(filter(None, parts))
  if not content:
    return ''
  intro = intro and f'<p class="intro">{text(intro)}</p>'
  return f'<section><h2>{text(title)}</h2>{intro}\n{content}</section>'


def card(title: str, png: bytes, caption: str, wide: bool = False) -> str:
  """A picture, what it is called and what it shows; wide: in all columns."""
  data = base64.b64encode(png).decode()
  return (
    f'<figure{" class=wide" if wide else ""}><h3>{text(title)}</h3>'
    f'<img alt="{text(title)}" src="data:image/png;base64,{data}">'
    f'<figcaption>{text(caption)}</figcaption></figure>'
  )


def cards(parts: Sequence[str]) -> str:
  """Pictures in as many columns as fit."""
  return parts and f'<div class="cards">{"".join(parts)}</div>' or ''


def title(name: str, state: str) -> str:
  """The top of the page."""
  return f'<h1>{text(name)}</h1><p class="intro">{text(state)}</p>'


def heading(name: str, count: str) -> str:
  """The line above a few responses."""
  return f'<h4>{text(name)} <span>{text(count)}</span></h4>'


def columns(sides: Iterable[tuple[str, Iterable[str]]]) -> str:
  """Stacks, each under its title, side by side if the page is wide enough."""
  stacks = (
    f'<div><h3>{text(title)}</h3>{"".join(parts)}</div>'
    for title, parts in sides
  )
  return f'<div class="row">{"".join(stacks)}</div>'


def tiles(parts: Iterable[str]) -> str:
  return f'<div class="tiles">{"".join(parts)}</div>'


def tile(name: str, value: str, note: str = '') -> str:
  """One number in large type."""
  return (
    f'<div class="tile"><span>{text(name)}</span>'
    f'<strong>{text(value)}</strong><small>{text(note)}</small></div>'
  )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """Cells under their headings."""
  cells = ''.join(f'<th>{text(name)}</th>' for name in head)
  lines = ''.join(
    f'<tr>{"".join(f"<td>{text(cell)}</td>" for cell in row)}</tr>'
    for row in rows
  )
  return f'<table class="plain"><tr>{cells}</tr>{lines}</table>'


def folded(title: str, content: str) -> str:
  """Markup that shows when its title is clicked."""
  return (
    f'<details><summary>{text(title)}</summary>'
    f'<div class="folded">{content}</div></details>'
  )


def plain(passage: str) -> str:
  """Text as it is, in columns of one width."""
  return f'<pre>{text(passage)}</pre>'


def settings(values: Mapping[str, Any]) -> str:
  """A folded table of a config, a block for each group."""
  if not values:
    return ''
  plain = {k: v for k, v in values.items() if not isinstance(v, Mapping)}
  groups = {k: v for k, v in values.items() if isinstance(v, Mapping)}
  blocks = [_block('general', plain)] if plain else []
  blocks += [_block(name, group) for name, group in groups.items()]
  return (
    f'<details><summary>Configuration</summary>'
    f'<div class="settings">{"".join(blocks)}</div></details>'
  )


def _block(name, values):
  rows = ''.join(
    f'<tr><td>{text(key)}</td><td>{text(flat(value))}</td></tr>'
    for key, value in values.items()
  )
  return f'<table><caption>{text(name)}</caption>{rows}</table>'


def flat(value: Any) -> str:
  """A value of a config, lists without brackets."""
  return ', '.join(map(str, value)) if isinstance(value, list) else str(value)


def response(label: str, record: Mapping[str, Any], right: bool) -> str:
  """One response with its verdict, its length and why it stopped.

  Args:
    label: which policy wrote it.
    record: uses `response`, `length`, `stop`, and `segments` (tokens) and
      `versions` if it grew over several iterations.
  """
  verdict = 'right' if right else 'wrong'
  facts = [f'{record.get("length", "?")} tokens', f'stop: {record.get("stop")}']
  segments, versions = record.get('segments'), record.get('versions')
  if segments and versions and len(segments) > 1:
    grown = zip(segments, versions, strict=False)
    facts.append(' + '.join(f'{n} (policy {v})' for n, v in grown))
  return (
    f'<article><header><span class="badge {verdict}">{verdict}</span>'
    f'<b>{text(label)}</b><span>{text(" · ".join(facts))}</span></header>'
    f'<pre>{_passage(record.get("response", ""))}</pre></article>'
  )


def quotation(label: str, facts: str, passage: str) -> str:
  """A text of somebody else's, under its name."""
  return (
    f'<article><header><b>{text(label)}</b><span>{text(facts)}</span></header>'
    f'<pre>{_passage(passage)}</pre></article>'
  )


def picture(png: bytes, size: tuple[int, int], name: str) -> str:
  """A picture of a problem, as wide and high as it says, in pixels."""
  data = base64.b64encode(png).decode()
  width, height = size
  return (
    f'<img alt="{text(name)}" title="{text(name)}" width="{width}"'
    f' height="{height}" style="{_PICTURE}"'
    f' src="data:image/png;base64,{data}">'
  )


def no_picture(name: str) -> str:
  """The place of a picture that is not there."""
  return f'<span style="{_NO_PICTURE}">{text(name)}</span>'


def sample(
  problem: Mapping[str, Any], responses: Iterable[str], pictures: str = ''
) -> str:
  """Responses side by side under the problem they answer.

  Args:
    problem: a record; uses `prompt`, `answer`, `problem_id`, `domain` and
      `difficulty`.
    pictures: markup of its pictures.
  """
  labels = [str(problem.get(key) or '') for key in ('problem_id', 'domain')]
  if problem.get('difficulty') is not None:
    labels.append(f'difficulty {problem["difficulty"]:.2f}')
  answer = problem.get('answer', '')
  answer = f'<span>answer <b>{text(answer)}</b></span>' if answer else ''
  return (
    f'<div class="sample"><div class="problem">{pictures}'
    f'<pre>{_passage(problem.get("prompt", ""))}</pre>'
    f'{answer}<small>{text(" · ".join(filter(None, labels)))}</small></div>'
    f'<div class="row">{"".join(responses)}</div></div>'
  )


def _passage(passage):
  begin, end = _SHOWN_CHARS
  passage = str(passage).strip('\n')
  left_out = len(passage) - begin - end
  if left_out <= 0:
    return text(passage)
  gap = f'<i>… {left_out:,} characters …</i>'
  return f'{text(passage[:begin])}\n{gap}\n{text(passage[-end:])}'


# In the element: pages without pictures have no rules for them.
_PICTURE = (
  'align-self: flex-start; max-width: 100%; image-rendering: pixelated; '
  'border: 1px solid #e3e7ed'
)
_NO_PICTURE = 'border: 1px dashed #b93a32; padding: 18px 10px'
_STYLE = """
:root { --ink: #232b36; --soft: #66707f; --line: #e3e7ed; --blue: #2f6fde;
  --right: #1d7f54; --wrong: #b93a32; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
    "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1140px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px;
  letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 56px 0 6px; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 0 0 8px; }
h4 { font-size: 15px; margin: 26px 0 10px; }
.row h3 + h4 { margin-top: 10px; }
.row h3 { font-size: 17px; }
h4 span { font-weight: 400; color: var(--soft); }
p { margin: 0; }
.intro { color: var(--soft); max-width: 46em; }
.intro { margin-bottom: 14px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 26px 0 14px; }
.tile, figure, .sample, details { background: #fff;
  border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 20px; display: flex; flex-direction: column;
  flex: 1 0 auto; }
.tile span, .tile small { color: var(--soft); font-size: 13px; }
.tile strong { font-size: 27px; font-weight: 650; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
.cards { display: grid; gap: 16px; margin-top: 14px;
  grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); }
figure { margin: 0; padding: 16px 18px; }
figure img { display: block; width: 100%; max-width: 620px; margin: 0 auto; }
figure.wide { grid-column: 1 / -1; }
figure.wide img { max-width: none; }
figcaption { color: var(--soft); font-size: 13.5px; line-height: 1.45;
  margin-top: 8px; }
details { margin-top: 12px; padding: 0 18px; }
summary { cursor: pointer; padding: 10px 0; font-weight: 600;
  font-size: 14px; }
.folded { overflow-x: auto; padding-bottom: 14px; }
.settings { columns: 3 280px; column-gap: 28px; padding: 4px 0 14px; }
table { width: 100%; border-collapse: collapse; margin-bottom: 16px;
  break-inside: avoid; font-size: 12.5px; }
caption { text-align: left; font-weight: 650; padding-bottom: 2px; }
td { padding: 2px 0; border-top: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: var(--soft); padding-right: 12px;
  white-space: nowrap; }
td:last-child { text-align: right; }
table.plain { width: auto; font-size: 14px; margin-top: 14px; }
.plain th, .plain td { text-align: right; padding: 3px 14px; }
.plain th:first-child, .plain td:first-child { text-align: left; }
.sample { margin: 0 0 14px; padding: 14px 18px 18px; }
.row { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(400px, 100%), 1fr)); }
.problem { display: flex; flex-wrap: wrap; gap: 0 18px;
  align-items: baseline; margin-bottom: 10px; }
.problem pre { border: 0; background: none; padding: 0; font-weight: 600;
  max-height: 16em; }
.problem small, article header { color: var(--soft); font-size: 13px; }
.problem small { flex-basis: 100%; order: -1; }
.problem span { font-size: 14px; }
article { min-width: 0; }
article header { display: flex; flex-wrap: wrap; gap: 2px 10px;
  align-items: center; margin-bottom: 6px; }
article header b { color: var(--ink); }
.badge { color: #fff; border-radius: 999px; padding: 0 10px; font-size: 12px;
  line-height: 20px; font-weight: 650; }
.right { background: var(--right); }
.wrong { background: var(--wrong); }
pre { margin: 0; padding: 10px 12px; background: #f8f9fb;
  border: 1px solid var(--line); border-radius: 8px; max-height: 26em;
  overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas,
    "DejaVu Sans Mono", monospace; }
@media print { body { background: #fff; } pre { max-height: none; }
  figure, .sample { break-inside: avoid; } }
"""
