"""Tunix on the CPU behind the benchmark's line protocol.

Run by the python of the tunix environment (setup_peers.py); see protocol.py
for the wire.  Model: Qwen3 of 4 layers, width 256, 4 query and 2 key-value
heads of 64, feed-forward 768, vocabulary 512, tied embeddings, QK-norm,
rope theta 1e6, RMS epsilon 1e-6, float32, random weights.
"""

import importlib.metadata
import itertools
import os
import platform
import queue
import threading
import types

import worker_side as side

OUT = side.claim_stdout()
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['HF_HUB_OFFLINE'] = '1'

import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from flax import nnx  # noqa: E402
from tunix.generate import sampler as sampler_lib  # noqa: E402
from tunix.models.qwen3 import model as qwen3  # noqa: E402
from tunix.rl import rl_cluster  # noqa: E402
from tunix.rl.grpo import grpo_learner  # noqa: E402
from tunix.rl.rollout import base_rollout  # noqa: E402

SEEDS = itertools.count(1)


def make_tokenizer():
  """What Tunix asks of a tokenizer: a word per id, and no first token."""
  return types.SimpleNamespace(
    encode=lambda text, **unused: [int(word) for word in text.split()],
    decode=lambda ids, **unused: side.as_text(ids),
    bos_id=lambda: None,
    eos_id=lambda: side.END,
    pad_id=lambda: side.PAD,
  )


def model_config():
  return qwen3.ModelConfig(
    num_layers=4,
    vocab_size=side.VOCAB,
    embed_dim=256,
    hidden_dim=768,
    num_heads=4,
    head_dim=64,
    num_kv_heads=2,
    rope_theta=1_000_000,
    norm_eps=1e-6,
    use_tied_embedding=True,
  )


def make_model():
  return qwen3.Qwen3(model_config(), rngs=nnx.Rngs(0))


def make_sampler(model, tokens):
  """The sampler behind Tunix's vanilla rollout, its cache no longer than
  the longest row, since every decoding step attends over all of it."""
  return sampler_lib.Sampler(
    model,
    make_tokenizer(),
    sampler_lib.CacheConfig(
      cache_size=side.PROMPT_TOKENS + tokens,
      num_layers=4,
      num_kv_heads=2,
      head_dim=64,
    ),
  )


def sample(sampler, prompts, tokens):
  """Sampled ids after the prompts, one array per row."""
  output = sampler(
    [side.as_text(prompt) for prompt in prompts],
    max_generation_steps=tokens,
    max_prompt_length=side.PROMPT_TOKENS,
    temperature=1.0,
    top_p=1.0,
    top_k=None,
    seed=next(SEEDS),
  )
  return output.tokens


def generate_operation(model):
  samplers = {}

  def generate(command):
    tokens = command['tokens']
    if tokens not in samplers:
      samplers[tokens] = make_sampler(model, tokens)
    prompts = side.repeated(side.random_prompts(next(SEEDS)))
    start = side.mark()
    out = sample(samplers[tokens], prompts, tokens)
    reply = side.since(start)
    assert [len(row) for row in out] == [tokens] * side.ROWS
    return {**reply, 'tokens': sum(map(len, out))}

  return generate


def end_after(sampler, tokens):
  """Make the sampler's loop end after `tokens` tokens.

  Tunix has a limit per call but none per row, and its loop ends when every
  row has met an end token.  A random model meets none at the length asked
  for, so the loop's bound stands in for it: same buffers, same program.
  The bound is one lower, because the loop starts with a token from prefill.
  """
  original = type(sampler).init_sample_state

  def init_sample_state(*args, **kwargs):
    state = original(sampler, *args, **kwargs)
    return state.replace(total_sampling_steps=side.PROMPT_TOKENS + tokens - 1)

  sampler.init_sample_state = init_sample_state


def static_batches(model, samplers, size):
  """A batch ends when the last of its rows is done."""

  def run(lengths, rehearse):
    longest = max(lengths)
    if longest not in samplers:
      samplers[longest] = make_sampler(model, longest)
    sampler = samplers[longest]
    prompts = side.random_prompts(next(SEEDS), -(-len(lengths) // side.SAMPLES))
    prompts = side.repeated(prompts)[: len(lengths)]
    for rows in side.slices(lengths, size):
      stop = 2 if rehearse else max(lengths[rows])
      end_after(sampler, stop)
      out = sample(sampler, prompts[rows], longest)
      made = max(np.count_nonzero(row != side.PAD) for row in out)
      assert made == stop, (made, stop)

  return run


def distinct_tokens(tokens):
  """A reward that costs nothing; it also checks the response lengths."""

  def reward(prompts, completions, **unused):
    rows = [text.split() for text in completions]
    assert all(len(row) == tokens for row in rows)
    return [float(len(set(row))) for row in rows]

  return reward


def cluster_config(tokens):
  """One device for all roles; the whole batch in one piece everywhere."""
  device = np.array(jax.devices()[:1]).reshape(1, 1)
  mesh = jax.sharding.Mesh(device, ('fsdp', 'tp'))
  # TRL clips at the norm of 1 by default; both sides do the same work.
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5))
  return rl_cluster.ClusterConfig(
    role_to_mesh=dict.fromkeys(rl_cluster.Role, mesh),
    rollout_engine='vanilla',
    training_config=rl_cluster.RLTrainingConfig(
      actor_optimizer=optimizer, eval_every_n_steps=10**9, max_steps=1_000_000
    ),
    rollout_config=base_rollout.RolloutConfig(
      max_tokens_to_generate=tokens,
      temperature=1.0,
      top_p=1.0,
      top_k=None,
      max_prompt_length=side.PROMPT_TOKENS,
      kv_cache_size=side.PROMPT_TOKENS + tokens,
    ),
  )


def make_trainer(tokens, beta):
  cluster = rl_cluster.RLCluster(
    actor=make_model(),
    reference=make_model() if beta else None,
    tokenizer=make_tokenizer(),
    cluster_config=cluster_config(tokens),
  )
  learner = grpo_learner.GRPOLearner(
    rl_cluster=cluster,
    reward_fns=distinct_tokens(tokens),
    algo_config=grpo_learner.GRPOConfig(
      num_generations=side.SAMPLES, num_iterations=1, beta=beta
    ),
  )
  return lambda gate: learner.train(batches(gate))


def batches(gate):
  """Prompts for ever.  Tunix asks for the next ones only after it waited for
  the update, so the gate stands between two of them."""
  for seed in itertools.count(1000):
    texts = [side.as_text(prompt) for prompt in side.random_prompts(seed)]
    yield {'prompts': np.array(texts)}
    gate()


def start_training(train):
  """Hold the training loop `train(gate)` in a thread, one step at a time.

  The loop calls `gate()` once after every whole step; gate blocks until
  another step is asked for.  A step's time runs from that request to the
  next call of gate, and the first step also holds what train() does before
  its loop.
  """
  session = types.SimpleNamespace(
    go=queue.Queue(), ended=queue.Queue(), steps=0
  )

  def gate():
    session.ended.put(None)
    session.go.get()

  def run():
    session.go.get()
    try:
      train(gate)
      raise RuntimeError('the training loop ended')
    except BaseException as error:
      session.ended.put(error)

  threading.Thread(target=run, daemon=True).start()
  return session


def one_step(session):
  """The time of exactly one step of the held training loop."""
  start = side.mark()
  session.go.put(None)
  error = session.ended.get()
  if error is not None:
    raise error
  session.steps += 1
  return side.since(start)


def step_operation():
  """A trainer per length and KL weight, because each is its own program."""
  sessions = {}

  def step(command):
    key = command['tokens'], command.get('beta', 0.04)
    reply = {}
    if key not in sessions:
      start = side.mark()
      sessions[key] = start_training(make_trainer(*key))
      reply['setup_seconds'] = side.since(start)['seconds']
    reply['cold'] = sessions[key].steps == 0
    return {**reply, **one_step(sessions[key])}

  return step


def describe(model):
  leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
  names = ('google-tunix', 'jax', 'jaxlib', 'flax', 'optax', 'numpy')
  versions = {name: importlib.metadata.version(name) for name in names}
  return {
    'peer': 'tunix',
    'versions': {'python': platform.python_version(), **versions},
    'parameters': sum(leaf.size for leaf in leaves),
    'devices': [str(device) for device in jax.devices()],
  }


def main():
  model = make_model()
  step = step_operation()
  samplers = {}
  side.answer(OUT, {'ready': True, **describe(model)})
  side.serve(
    OUT,
    {
      'generate': generate_operation(model),
      'step': step,
      'first_step': step,
      'long_tail': side.long_tail_operation(
        {
          'one batch of 64': static_batches(model, samplers, 64),
          'batches of 16': static_batches(model, samplers, 16),
        }
      ),
    },
    fresh=True,
  )
  # A trainer may be held at its gate, in a thread nothing can interrupt.
  os._exit(0)


if __name__ == '__main__':
  main()
