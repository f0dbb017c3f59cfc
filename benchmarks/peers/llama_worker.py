"""llama.cpp on the CPU behind the benchmark's line protocol.

Run by the python of the llama environment (setup_peers.py), on the GGUF file
that the parent gives; see protocol.py for the wire.  llama-cpp-python's class
for people answers one prompt at a time: batches go through the C functions
below it.  Weights are of the file's precision and activations of 8 bits,
llama.cpp's own way on a CPU; its own sampler draws at temperature 1.
"""

import collections
import dataclasses
import importlib.metadata
import itertools
import os
import platform

import worker_side as side

OUT = side.claim_stdout()

import llama_cpp  # noqa: E402

SEEDS = itertools.count(1)


@dataclasses.dataclass
class Row:
  """A response under way, in a sequence of the cache: `tokens` are read next,
  at `position`, and `left` are still to be drawn."""

  sequence: int
  tokens: list
  position: int
  left: int


def load_model():
  llama_cpp.llama_backend_init()
  settings = llama_cpp.llama_model_default_params()
  path = side.GIVEN['gguf']
  model = llama_cpp.llama_model_load_from_file(path.encode(), settings)
  if not model:
    raise RuntimeError(f'llama.cpp cannot read {path}')
  return model


def make_context(model, sequences, longest, shared):
  """A cache for so many rows, whole prompts read in one batch.

  With `shared` all rows lie in one cache and each reads over all of it, or
  else each has its own.
  """
  settings = llama_cpp.llama_context_default_params()
  # llama.cpp pads a cache to 256 columns itself.
  columns = -(-(side.PROMPT_TOKENS + longest) // 256) * 256
  settings.n_ctx = sequences * columns
  settings.n_batch = sequences * side.PROMPT_TOKENS
  settings.n_seq_max = sequences
  settings.n_threads = settings.n_threads_batch = os.cpu_count()
  settings.kv_unified = shared
  settings.no_perf = True
  context = llama_cpp.llama_init_from_model(model, settings)
  if not context:
    raise RuntimeError(f'llama.cpp has no context of {sequences} sequences')
  return context


def make_sampler(seed):
  settings = llama_cpp.llama_sampler_chain_default_params()
  chain = llama_cpp.llama_sampler_chain_init(settings)
  llama_cpp.llama_sampler_chain_add(
    chain, llama_cpp.llama_sampler_init_dist(seed)
  )
  return chain


def batches(model, sequences, shared):
  """As soon as a row is done, its sequence takes the next prompt."""
  contexts = {}

  def run(lengths, rehearse):
    longest = max(lengths)
    if longest not in contexts:
      contexts[longest] = make_context(model, sequences, longest, shared)
    lengths = [min(n, 4) for n in lengths] if rehearse else lengths
    made = answer_all(contexts[longest], sequences, lengths)
    assert made == sum(lengths), (made, sum(lengths))

  return run


def answer_all(context, sequences, lengths):
  """Draws responses of these lengths; the number of their tokens."""
  memory, seed = llama_cpp.llama_get_memory(context), next(SEEDS)
  llama_cpp.llama_memory_clear(memory, True)
  sampler = make_sampler(seed)
  batch = llama_cpp.llama_batch_init(sequences * side.PROMPT_TOKENS, 0, 1)
  prompts = side.random_prompts(seed, len(lengths))
  waiting = collections.deque(zip(prompts, lengths, strict=True))
  free, rows, made = list(range(sequences)), [], 0
  while waiting or rows:
    while free and waiting:
      prompt, length = waiting.popleft()
      rows.append(Row(free.pop(), prompt, 0, length))
    made += decode(context, sampler, batch, rows)
    for row in [row for row in rows if not row.left]:
      llama_cpp.llama_memory_seq_rm(memory, row.sequence, -1, -1)
      free.append(row.sequence)
      rows.remove(row)
  llama_cpp.llama_batch_free(batch)
  llama_cpp.llama_sampler_free(sampler)
  return made


def decode(context, sampler, batch, rows):
  """Reads what is new of every row and draws a token of each; how many."""
  ends = [fill(batch, row, i == 0) for i, row in enumerate(rows)]
  status = llama_cpp.llama_decode(context, batch)
  if status:
    raise RuntimeError(f'llama_decode answers {status}')
  for row, end in zip(rows, ends, strict=True):
    token = llama_cpp.llama_sampler_sample(sampler, context, end)
    row.position += len(row.tokens)
    row.tokens, row.left = [token], row.left - 1
  return len(rows)


def fill(batch, row, is_first):
  """Adds what is new of a row; the place of its last token."""
  if is_first:
    batch.n_tokens = 0
  for i, token in enumerate(row.tokens):
    place = batch.n_tokens
    batch.token[place] = token
    batch.pos[place] = row.position + i
    batch.n_seq_id[place] = 1
    batch.seq_id[place][0] = row.sequence
    # Logits within a prompt are of no use, and a product with the vocabulary
    # each.
    batch.logits[place] = i == len(row.tokens) - 1
    batch.n_tokens += 1
  return batch.n_tokens - 1


def describe(model):
  return {
    'peer': 'llama',
    'versions': {
      'python': platform.python_version(),
      'llama-cpp-python': importlib.metadata.version('llama-cpp-python'),
    },
    'parameters': llama_cpp.llama_model_n_params(model),
    'threads': os.cpu_count(),
  }


def main():
  model = load_model()
  ways = {
    '64 sequences': batches(model, 64, False),
    '64 sequences, one cache': batches(model, 64, True),
    '16 sequences': batches(model, 16, False),
  }
  operations = {'long_tail': side.long_tail_operation(ways)}
  side.answer(OUT, {'ready': True, **describe(model)})
  side.serve(OUT, operations)


if __name__ == '__main__':
  main()
