"""TRL on the CPU behind the benchmark's line protocol.

Run by the python of the trl environment (setup_peers.py); see protocol.py
for the wire.  Model: Qwen3 of 4 layers, width 256, 4 query and 2 key-value
heads of 64, feed-forward 768, vocabulary 512, tied embeddings, QK-norm,
rope theta 1e6, RMS epsilon 1e-6, float32, random weights; or the directory
that the parent gives.
"""

import itertools
import os
import platform
import sys
import tempfile

import worker_side as side

OUT = side.claim_stdout()
for switch in (
  'HF_HUB_OFFLINE',
  'TRANSFORMERS_OFFLINE',
  'HF_DATASETS_OFFLINE',
  'HF_HUB_DISABLE_TELEMETRY',
):
  os.environ[switch] = '1'

import datasets  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402

SEEDS = itertools.count(1)
DEFAULT_BETA = side.GIVEN.get('beta', 0.04)


def make_tokenizer():
  """A word per id; the two special ids lie outside the model's vocabulary."""
  words = {str(i): i for i in range(side.VOCAB)}
  words.update({'<pad>': side.PAD, '<end>': side.END})
  core = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(words, unk_token='<pad>')
  )
  core.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=core,
    pad_token='<pad>',
    eos_token='<end>',
    padding_side='left',
  )


def model_config():
  return transformers.Qwen3Config(
    vocab_size=side.VOCAB,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    tie_word_embeddings=True,
    rms_norm_eps=1e-6,
    rope_parameters={'rope_type': 'default', 'rope_theta': 1e6},
    max_position_embeddings=4096,
    bos_token_id=None,
    eos_token_id=None,
    dtype='float32',
  )


def save_model(path):
  """Write the random model down: TRL loads its reference from a path."""
  torch.manual_seed(0)
  transformers.Qwen3ForCausalLM(model_config()).save_pretrained(path)


def load_model(path):
  """In float32, and without the ids that end a response: of a model that has
  some, TRL takes them beside the tokenizer's."""
  model = transformers.AutoModelForCausalLM.from_pretrained(
    path, dtype=torch.float32
  )
  model.generation_config = transformers.GenerationConfig()
  return model


def sampling(tokens):
  """What GRPOTrainer itself passes to generate, with a pad id to embed.

  A row that ends before its batch is fed the pad id, so here that has to be
  a real token.
  """
  return transformers.GenerationConfig(
    max_new_tokens=tokens,
    do_sample=True,
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    pad_token_id=0,
    eos_token_id=side.END,
    disable_compile=True,
  )


@torch.no_grad()
def sample(model, prompts, tokens, lengths=None):
  """Sampled ids after the prompts; row i may stop after lengths[i]."""
  ids = torch.tensor(prompts)
  stops = []
  if lengths is not None:
    ends = torch.tensor(lengths) + ids.shape[1]
    stops.append(lambda seen, _, **unused: seen.shape[1] >= ends)
  out = model.generate(
    input_ids=ids,
    attention_mask=torch.ones_like(ids),
    generation_config=sampling(tokens),
    stopping_criteria=transformers.StoppingCriteriaList(stops),
  )
  return out[:, ids.shape[1] :]


def generate_operation(model):

  def generate(command):
    tokens = command['tokens']
    prompts = side.repeated(side.random_prompts(next(SEEDS)))
    start = side.mark()
    out = sample(model, prompts, tokens)
    reply = side.since(start)
    assert tuple(out.shape) == (side.ROWS, tokens), out.shape
    return {**reply, 'tokens': out.numel()}

  return generate


def long_tail_prompts(lengths):
  prompts = side.random_prompts(next(SEEDS), -(-len(lengths) // side.SAMPLES))
  return side.repeated(prompts)[: len(lengths)]


def static_batches(model, size):
  """Plain generate: a batch ends when the last of its rows is done."""

  def run(lengths, rehearse):
    lengths = [min(n, 4) for n in lengths] if rehearse else lengths
    prompts = long_tail_prompts(lengths)
    for rows in side.slices(lengths, size):
      wanted = lengths[rows]
      out = sample(model, prompts[rows], max(lengths), wanted)
      assert out.shape[1] == max(wanted), out.shape

  return run


def continuous_batches(model, size):
  """The engine behind TRL's use_transformers_continuous_batching.

  A row that is done leaves the batch, and the next request takes its place.
  The cache is sized for the load, because by default the engine claims more
  than half of the machine's memory.
  """

  def run(lengths, rehearse):
    lengths = [min(n, 4) for n in lengths] if rehearse else lengths
    prompts = long_tail_prompts(lengths)
    pages = -(-(side.PROMPT_TOKENS + max(lengths)) // 256)
    config = transformers.ContinuousBatchingConfig(
      num_blocks=size * pages + 8,
      max_requests_per_batch=size,
      max_batch_tokens=max(512, size * side.PROMPT_TOKENS),
    )
    with (
      torch.no_grad(),
      model.continuous_batching_context_manager(
        generation_config=sampling(max(lengths)),
        block=True,
        timeout=5,
        continuous_batching_config=config,
      ) as manager,
    ):
      for prompt, length in zip(prompts, lengths, strict=True):
        manager.add_request(prompt, max_new_tokens=length)
      made = collect(manager, len(lengths))
    assert made == sum(lengths), (made, sum(lengths))

  return run


def collect(manager, count):
  """Tokens generated for `count` requests, once they are all done."""
  made = 0
  while count:
    result = manager.get_result(timeout=1)
    if result is None and not manager.is_running():
      raise RuntimeError('the continuous batching thread ended')
    if result is not None and result.is_finished():
      if result.error:
        raise RuntimeError(result.error)
      made += len(result.generated_tokens)
      count -= 1
  return made


def distinct_tokens(completion_ids, **unused):
  """A reward that costs nothing; no response may have ended early."""
  assert len(set(map(len, completion_ids))) == 1
  return [float(len(set(ids))) for ids in completion_ids]


def trainer_config(folder):
  """TRL's defaults, save for precision, recomputation and bookkeeping.

  TRL's own defaults are bfloat16 and gradient checkpointing; either would
  make it do other work than the rest of the benchmark.
  """
  return trl.GRPOConfig(
    output_dir=folder,
    use_cpu=True,
    bf16=False,
    gradient_checkpointing=False,
    per_device_train_batch_size=side.MICRO,
    gradient_accumulation_steps=side.ROWS // side.MICRO,
    num_generations=side.SAMPLES,
    temperature=1.0,
    beta=DEFAULT_BETA,
    loss_type='grpo',
    learning_rate=1e-5,
    lr_scheduler_type='constant',
    max_steps=1_000_000,
    save_strategy='no',
    logging_strategy='no',
    report_to='none',
    disable_tqdm=True,
    dataloader_pin_memory=False,
  )


def make_trainer(path, folder):
  # Enough prompts that no measured step falls on the end of an epoch.
  prompts = [side.as_text(p) for p in side.random_prompts(0, 4096)]
  return trl.GRPOTrainer(
    model=load_model(path),
    reward_funcs=distinct_tokens,
    args=trainer_config(folder),
    processing_class=make_tokenizer(),
    train_dataset=datasets.Dataset.from_dict({'prompt': prompts}),
  )


def set_step(trainer, command):
  """Length and KL weight of the trainer's next step.

  PyTorch compiles nothing here, so one trainer serves every length warm.
  """
  trainer.generation_config.max_new_tokens = command['tokens']
  trainer.beta = command.get('beta', DEFAULT_BETA)


def train(trainer, command, next_step):
  """Run TRL's own loop from the first step command on, for ever.

  The loop has the main thread and the commands are read from within it,
  between two steps: a second thread would bring a second OpenMP team, and
  the two would slow each other down.
  """
  state = {'cold': True}

  def begin(command):
    set_step(trainer, command)
    state['start'] = side.mark()

  def on_step_end(self, args, *unused, **also_unused):
    passed = side.since(state['start'])
    side.answer(OUT, {'cold': state['cold'], **passed})
    state['cold'] = False
    begin(next_step())

  trainer.add_callback(
    type(
      'BetweenSteps',
      (transformers.TrainerCallback,),
      {'on_step_end': on_step_end},
    )
  )
  begin(command)
  trainer.train()


def describe(policy):
  return {
    'peer': 'trl',
    'versions': {
      'python': platform.python_version(),
      'trl': trl.__version__,
      'torch': torch.__version__,
      'transformers': transformers.__version__,
      'accelerate': __import__('accelerate').__version__,
    },
    'parameters': sum(p.numel() for p in policy.parameters()),
    'threads': torch.get_num_threads(),
  }


def prepare():
  """The model to sample from, and TRL's trainer with its own copies; None for
  the one that the parent has no use for, as its memory would count.

  The folder is gone before the first command: nothing reads it again, and a
  worker that is killed leaves nothing behind.
  """
  use = side.GIVEN.get('use', ('generate', 'step'))
  with tempfile.TemporaryDirectory(prefix='k15-trl-') as folder:
    path = side.MODEL or folder
    if not side.MODEL:
      save_model(path)
    return (
      load_model(path).eval() if 'generate' in use else None,
      make_trainer(path, folder) if 'step' in use else None,
    )


def main():
  model, trainer = prepare()
  operations = {
    'generate': generate_operation(model),
    'long_tail': side.long_tail_operation(
      {
        'one batch of 64': static_batches(model, 64),
        'batches of 16': static_batches(model, 16),
        'continuous, 64 slots': continuous_batches(model, 64),
        'continuous, 16 slots': continuous_batches(model, 16),
      }
    ),
  }

  def next_step(fresh=False):
    command = side.serve(OUT, operations, ('step', 'first_step'), fresh)
    return command or sys.exit()

  side.answer(OUT, {'ready': True, **describe(model or trainer.model)})
  try:
    train(trainer, next_step(fresh=True), next_step)
  except Exception as error:
    side.answer(OUT, side.failure(error))


if __name__ == '__main__':
  main()
