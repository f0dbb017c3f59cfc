"""Extras of setup.py: what each brings, and what is said where it is missing.

Whoever installs k15 alone trains with it.  The rest is asked for by name, as in
`pip install 'k15[gguf]'`, and whatever meets a package that is not there says
which name that is, in the one sentence of this page.
"""

import dataclasses
import importlib.util
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Extra:
  """A name in brackets.

  Attributes:
    name: as in setup.py.
    use: what k15 does with it, in a few words.
    packages: by the module that is imported, what it is installed as.
    make: the target that brings it in a clone; '' where none does.
  """

  name: str
  use: str
  packages: Mapping[str, str]
  make: str = ''


EXTRAS = (
  Extra('gguf', 'models in GGUF files', {'gguf': 'gguf'}, 'make extras'),
  Extra(
    'parquet', 'problems in Parquet', {'pyarrow': 'pyarrow'}, 'make extras'
  ),
  Extra(
    'sandbox', 'the reward service, generators of test cases',
    {
      'cyaron': 'cyaron', 'xeger': 'xeger', 'starlette': 'starlette',
      'uvicorn': 'uvicorn', 'prometheus_client': 'prometheus-client',
    },
    'make extras',
  ),
  Extra(
    'workers', 'a trainer whose rollout is elsewhere', {'grpc': 'grpcio'},
    'make extras',
  ),
  Extra(
    'serve', 'rollout workers',
    {
      'jetstream': 'google-jetstream', 'grpc': 'grpcio',
      'prometheus_client': 'prometheus-client',
    },
    'make extras',
  ),
  Extra(
    'http', "a worker's endpoint for clients of OpenAI",
    {'starlette': 'starlette', 'uvicorn': 'uvicorn'}, 'make extras',
  ),
  Extra(
    'hub', 'names of the hub', {'huggingface_hub': 'huggingface-hub'},
    'make extras',
  ),
  Extra('wandb', 'runs on Weights & Biases', {'wandb': 'wandb'}),
  Extra('trackio', 'runs on a page of trackio', {'trackio': 'trackio'}),
  Extra('mlflow', 'runs in MLflow', {'mlflow': 'mlflow-skinny'}),
  Extra(
    'images', 'handwritten digits and photographs',
    {'sklearn': 'scikit-learn', 'skimage': 'scikit-image'},
  ),
  Extra('plan', 'plans for TPU slices', {'libtpu': 'libtpu'}, 'make plan'),
  Extra(
    'launch', 'XManager and both clouds',
    {
      'xmanager': 'xmanager', 'kubernetes': 'kubernetes',
      'kubeflow_trainer_api': 'kubeflow-trainer-api',
      'kubernetes_validate': 'kubernetes-validate', 'yaml': 'pyyaml',
      'pydantic': 'pydantic',
    },
    'make test-launch',
  ),
  Extra(
    'docs', 'docs as a site',
    {'mkdocs': 'mkdocs', 'material': 'mkdocs-material'},
    'make docs',
  ),
  Extra(
    'notebooks', 'notebooks, run without a browser',
    {'ipykernel': 'ipykernel', 'nbclient': 'nbclient'},
    'make notebooks',
  ),
  Extra('gpu', 'CUDA', {'jax_cuda12_plugin': 'jax-cuda12-plugin'}),
  Extra('tpu', 'TPUs', {'libtpu': 'libtpu'}),
)  # fmt: skip


def absent(extra: Extra) -> list[str]:
  """What of an extra is not installed, as it is installed; nothing is run."""
  packages = extra.packages.items()
  return [package for module, package in packages if not _is_here(module)]


def sentence(what: str, module: str, name: str = '') -> str:
  """'... needs gguf, which is not installed: pip install 'k15[gguf]' ...'.

  Args:
    what: cannot do without it: the subject of the sentence.
    module: that was not found.
    name: of the extra; '': the first that has the module.
  """
  extra = next(
    extra
    for extra in EXTRAS
    if module in extra.packages and name in ('', extra.name)
  )
  clone = f', or {extra.make} in a clone' if extra.make else ''
  return (
    f'{what} needs {extra.packages[module]}, which is not installed: pip'
    f" install 'k15[{extra.name}]'{clone}"
  )


def explain(
  what: str, error: ModuleNotFoundError, name: str = ''
) -> ModuleNotFoundError:
  """The error with its `sentence`; the error itself where there is none."""
  module = (error.name or '').partition('.')[0]
  if not any(
    module in extra.packages and name in ('', extra.name) for extra in EXTRAS
  ):
    return error
  return ModuleNotFoundError(sentence(what, module, name), name=module)


def _is_here(module):
  try:
    return importlib.util.find_spec(module) is not None
  except (ImportError, ValueError):  # Broken, or hidden: as if it were not.
    return False
