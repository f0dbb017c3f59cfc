"""Models on disk: a directory holds weights, shape and tokenizer.

The layout is Hugging Face's.  A run begins with the one that
`config.checkpoint` names, and each of its stages leaves one in
`workdir/models/<stage>`; where a directory is asked for, a workdir stands for
that of its last stage, by the order of its config: the times of files change
when they are copied.  A GGUF file stands for the directory made of it.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from k15 import files
from k15.checkpoints import adapters as adapters_lib
from k15.checkpoints import hf
from k15.checkpoints import hf_config
from k15.checkpoints import hf_tokenizer
from k15.checkpoints import tokenizer as tokenizer_lib
from k15.checkpoints import value_heads
from k15.checkpoints.gguf import from_gguf
from k15.config import stages as stages_lib
from k15.devices import hosts
from k15.model import policy
from k15.vision import images

BYTE_TOKENIZER = 'byte_tokenizer.json'  # Instead of tokenizer.json.
ORIGIN = 'k15.json'
_NEW = '.new'  # Behind the name of a directory that is not whole.

# Of a policy what a directory does not say: how it is computed.
HOW = (
  'dtype', 'param_dtype', 'product_dtype', 'scan_layers', 'remat',
  'logprob_chunk', 'attention', 'cache_block', 'lora_rank', 'lora_alpha',
  'lora_targets',
)  # fmt: skip
# What only one that sees has, and no key of `config.policy`.
SIGHT = ('vision', 'mrope_section', 'mrope_interleaved', 'banned_ids')


@dataclasses.dataclass(frozen=True)
class Origin:
  """Which stage left a model.

  Attributes:
    stage: its name.
    done: of its total, in its own unit: iterations, or steps.
    step: optimizer updates.
  """

  stage: str
  done: int
  step: int


def directory_of(path: str | pathlib.Path) -> pathlib.Path:
  """The directory of a model: itself, or that of a workdir's last stage.

  That of a GGUF file is made beside it, if it is not there.

  Raises:
    ValueError: it is none of these, or a GGUF file that is refused.
  """
  path = pathlib.Path(path)
  if path.is_file() and path.suffix == from_gguf.SUFFIX:
    return from_gguf.directory_of(path)
  if not path.is_dir():
    what = 'is a file' if path.exists() else 'does not exist'
    raise ValueError(
      f'{path} is no model: a directory or a {from_gguf.SUFFIX} file is needed,'
      f' and it {what}'
    )
  models = path / 'models'
  made = [p.parent for p in models.glob(f'*/{ORIGIN}')]
  made = [d for d in made if d.suffix != _NEW]  # They are being written.
  if made:
    return _last(path, {directory.name: directory for directory in made})
  if not (path / 'config.json').is_file():
    hint = ''
    if {'checkpoints', 'models'} & set(path.absolute().parts):
      hint = ': a stage leaves one in models/<stage> of its workdir'
    raise ValueError(f'{path} is no model: it has no config.json{hint}')
  if 'stages' in hf_config.read_json(path / 'config.json'):
    raise ValueError(f'{path} is a workdir in which no stage has finished')
  return path


def _last(workdir, made):
  """Of the models by stage, the one that the run has last."""
  if len(made) == 1:
    return next(iter(made.values()))
  config = workdir / 'config.json'
  stages = hf_config.read_json(config).get('stages') if config.is_file() else ()
  if not stages:  # What each stage began with was written down one by one.
    records = (workdir / 'stages').glob('*.json')
    places = {path.stem: hf_config.read_json(path)['place'] for path in records}
    stages = sorted(places, key=places.get)
  last = [stage for stage in stages if stage in made]
  # A reward model only where there is no policy.
  known = stages_lib.STAGES
  last.sort(key=lambda stage: stage in known and known[stage].makes_model)
  if not last:
    raise ValueError(
      f'{workdir} has the models {", ".join(sorted(made))}, and nothing there'
      ' says which of them is the last: name one'
    )
  return made[last[-1]]


def read_shape(directory: pathlib.Path) -> dict[str, Any]:
  """The keys of `config.policy` that a model determines.

  Raises:
    ValueError: an architecture that `k15.model.policy` does not compute.
  """
  found = hf_config.read_config(directory)
  names = [field.name for field in dataclasses.fields(found)]
  return {
    name: getattr(found, name)
    for name in names
    if name not in (*HOW, *SIGHT, 'vocab_size')
  }


def read_sight(directory: pathlib.Path) -> dict[str, Any]:
  """The fields of SIGHT of a model; empty ones where it sees nothing."""
  found = hf_config.read_config(directory)
  return {name: getattr(found, name) for name in SIGHT}


def read_policy(
  directory: pathlib.Path, how: Mapping[str, Any]
) -> policy.PolicyConfig:
  """The policy of a model, without adapters; `how` has the keys of HOW."""
  found = hf_config.read_config(directory)
  chosen = {key: how[key] for key in HOW} | dict(lora_rank=0)
  return dataclasses.replace(found, **chosen)


def read_words(directory: pathlib.Path) -> tuple[str, ...]:
  """`config.tokenizer.words` of a model of bytes; () if it is of another."""
  path = directory / BYTE_TOKENIZER
  if not path.exists():
    return ()
  fields = hf_config.read_fields(path)
  if fields.values.get('words') is None:
    raise fields.refuse('words', 'a list of texts')
  return tuple(fields.texts('words'))


def read_tokenizer(directory: pathlib.Path) -> Any:
  """Its `HfTokenizer`, or `ByteTokenizer`.

  Raises:
    ValueError: there is none, or it is malformed.
  """
  if (directory / BYTE_TOKENIZER).exists():
    shape = hf_config.read_config(directory)
    return tokenizer_lib.ByteTokenizer(
      read_words(directory), shape.vocab_size, shape.vision is not None
    )
  return hf_tokenizer.HfTokenizer(directory)


def make_tokenizer(
  checkpoint: str, words: Sequence[str], sees: bool = False
) -> Any:
  """That of a checkpoint; of '', one of bytes and words, which may see."""
  if checkpoint:
    return read_tokenizer(directory_of(checkpoint))
  return tokenizer_lib.ByteTokenizer(words, sees=sees)


def read_origin(directory: pathlib.Path) -> Origin | None:
  """What left this model; None: it is not there, or no stage left it."""
  path = directory / ORIGIN
  if not path.exists():
    return None
  try:
    return Origin(**hf_config.read_json(path))
  except TypeError:
    raise ValueError(f'{path} does not say which stage left it') from None


def load(
  path: str | pathlib.Path, shape: policy.PolicyConfig, layout: Any
) -> tuple[Any, int]:
  """Parameters for a policy that is there already.

  Args:
    path: a model's directory, or a workdir.
    shape: of the policy.
    layout: parameters as `jax.ShapeDtypeStruct`s with their shardings.

  Returns:
    The parameters in dtypes and shardings of the layout, and the updates that
    made them; 0 where no stage did.

  Raises:
    ValueError: there is no model, or it is of another policy.
    OSError: it cannot be read.
  """
  directory = directory_of(path)
  _refuse_other(directory, shape)
  origin = read_origin(directory)
  params = hf.load(directory, shape, layout)
  return params, origin.step if origin else 0


def _refuse_other(directory, shape):
  """Compares as config.json writes it, which says the same in one way."""
  theirs, ours = (
    hf_config.to_json(one, hf_config.Generation(1), 'float32')[0]
    for one in (hf_config.read_config(directory), shape)
  )
  for key, value in theirs.items():
    if value != ours[key]:
      raise ValueError(
        f'{directory} is of another policy: its {key} is {value}, and here it'
        f' is {ours[key]}'
      )


def save(
  directory: pathlib.Path,
  shape: policy.PolicyConfig,
  params: Any,
  tokenizer: Any,
  max_length: int,
  origin: Origin,
  made_from: pathlib.Path | None,
  adapters: Any = None,
  base: pathlib.Path | None = None,
  head: Any = None,
  processor: images.Processor | None = None,
) -> None:
  """Writes a model in place of an earlier one, whole or not at all.

  Every process calls it.

  Args:
    directory: `workdir/models/<stage>`.
    shape: of the policy.
    params: parameters, written as they are, to the bit.
    tokenizer: of `read_tokenizer`.
    max_length: tokens of prompt and response it was trained for.
    origin: what is remembered of the stage.
    made_from: directory whose tokenizer files are copied, if any.
    adapters: that were trained and are in `params` already; None: there are
      none.
    base: directory of the model that they belong to, if any.
    head: of values, of a reward model; None: it is none.
    processor: of pictures; None: it sees none.
  """
  is_bytes = isinstance(tokenizer, tokenizer_lib.ByteTokenizer)
  if made_from is not None and not is_bytes:
    generation = hf_config.read_generation(made_from)
    generation = dataclasses.replace(
      generation,
      max_length=max(generation.max_length, max_length),
      eos_ids=tokenizer.eos_ids,  # Servers look for them in this file alone.
    )
  else:
    generation = hf_config.Generation(
      max_length, tokenizer.eos_ids, pad_id=tokenizer.pad_id
    )
  new = directory.with_name(directory.name + _NEW)
  if jax.process_index() == 0:
    shutil.rmtree(new, ignore_errors=True)
  # Others would find what an earlier attempt left there, and refuse the
  # directory as not empty.
  hosts.wait(f'{directory}: begins')
  hf.export(
    new, shape, params, generation, shape.param_dtype,
    None if is_bytes else made_from,
    processor=processor if is_bytes else None,
  )  # fmt: skip
  if adapters is not None:
    adapters_lib.export(new / adapters_lib.DIRECTORY, shape, adapters, base)
  if jax.process_index() == 0:
    if head is not None:
      value_heads.write(new, head)
    if is_bytes:
      text = json.dumps(dict(words=tokenizer.words))
      (new / BYTE_TOKENIZER).write_text(text + '\n')
    # The last file: a directory with it is a model that a stage has left.
    (new / ORIGIN).write_text(json.dumps(dataclasses.asdict(origin)) + '\n')
    files.sync(new)
    # A rename replaces no full directory, so a kill between these lines leaves
    # no model: the stage, whose checkpoint is there, writes it again.
    shutil.rmtree(directory, ignore_errors=True)
    new.rename(directory)
  hosts.wait(f'{directory}: done')
