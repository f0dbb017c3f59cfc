"""transformers' generate on random weights; for `benchmarks.speed.gpu`.

Run by a python that has torch and transformers and nothing of k15.  The only
argument is JSON: the shape of the policy, and slots, prompt, new and repeats
among the settings.  The last line is `PART {json}`: tokens a second with a
dynamic and a static cache, or what went wrong with it.
"""

import json
import os
import statistics
import sys
import time

os.environ['HF_HUB_OFFLINE'] = os.environ['TRANSFORMERS_OFFLINE'] = '1'

import torch  # noqa: E402
import transformers  # noqa: E402


def make_model(shape, device):
  """Qwen2 in bfloat16, with random weights."""
  torch.manual_seed(0)
  config = transformers.Qwen2Config(
    vocab_size=shape['vocab_size'],
    hidden_size=shape['d_model'],
    intermediate_size=shape['d_ff'],
    num_hidden_layers=shape['num_layers'],
    num_attention_heads=shape['num_heads'],
    num_key_value_heads=shape['num_kv_heads'],
    head_dim=shape['head_dim'],
    tie_word_embeddings=shape['tie_embeddings'],
    rms_norm_eps=shape['rms_norm_eps'],
    rope_parameters={
      'rope_type': 'default',
      'rope_theta': shape['rope_theta'],
    },
    max_position_embeddings=32768,
    bos_token_id=None,
    eos_token_id=None,
    dtype='bfloat16',
  )
  with torch.device(device):
    model = transformers.Qwen2ForCausalLM(config)
  return model.to(torch.bfloat16).eval()


@torch.no_grad()
def seconds_of(model, asked, cache, device):
  """Median seconds of whole generations, after one that warms up."""
  settings = transformers.GenerationConfig(
    max_new_tokens=asked['new'],
    min_new_tokens=asked['new'],
    do_sample=True,
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    pad_token_id=0,
    cache_implementation=None if cache == 'dynamic' else cache,
  )
  vocab = asked['shape']['vocab_size']
  ids = torch.randint(vocab, (asked['slots'], asked['prompt']), device=device)
  taken = []
  for _ in range(1 + asked['repeats']):
    start = time.monotonic()
    out = model.generate(
      input_ids=ids,
      attention_mask=torch.ones_like(ids),
      generation_config=settings,
    )
    if device == 'cuda':
      torch.cuda.synchronize()
    taken.append(time.monotonic() - start)
    wanted = (asked['slots'], asked['prompt'] + asked['new'])
    if tuple(out.shape) != wanted:
      raise RuntimeError(f'{tuple(out.shape)} tokens, not {wanted}')
  return statistics.median(taken[1:])


def main():
  asked = json.loads(sys.argv[1])
  asked |= asked.pop('args')
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = make_model(asked['shape'], device)
  speeds = {}
  for cache in ('dynamic', 'static'):
    try:
      seconds = seconds_of(model, asked, cache, device)
      speeds[cache] = asked['slots'] * asked['new'] / seconds
    except Exception as error:  # The other way may do.
      speeds[cache] = f'{type(error).__name__}: {error}'.splitlines()[0]
  name = torch.cuda.get_device_name() if device == 'cuda' else 'cpu'
  result = dict(
    device=name,
    torch=torch.__version__,
    transformers=transformers.__version__,
    tokens_per_second=speeds,
  )
  print('PART ' + json.dumps(result), flush=True)


if __name__ == '__main__':
  main()
