"""Writes trl_golden.npz: TRL's own GRPO losses, and gradients, of fixed arrays.

Run where torch and trl are installed (1.16.0 wrote the file): python
tests/equations/make_trl_golden.py
"""

import collections
import pathlib
import types

import numpy as np
import torch
from trl.trainer import grpo_trainer

GOLDEN = pathlib.Path(__file__).with_name('trl_golden.npz')
MAX_LENGTH = 8  # tokens, of a response
# Name -> loss type, level of the ratio, epsilons below and above, beta.
CASES = {
  'grpo': ('grpo', 'token', 0.2, 0.2, 0.001),
  'dr_grpo': ('dr_grpo', 'token', 0.2, 0.2, 0.0),
  'dapo': ('dapo', 'token', 0.2, 0.28, 0.0),
  'bnpo': ('bnpo', 'token', 0.2, 0.28, 0.3),
  'gspo': ('grpo', 'sequence', 3e-4, 4e-4, 0.0),
  'gspo wide': ('grpo', 'sequence', 0.05, 0.1, 0.3),
}


def arrays():
  """Log-probabilities [6, 8], advantages [6], and a mask with gaps.

  The last response has no token in the loss.
  """
  rng = np.random.default_rng(0)
  old = rng.uniform(-3, -0.1, (6, MAX_LENGTH))
  mask = np.arange(MAX_LENGTH) < np.array([[8], [5], [1], [7], [3], [0]])
  mask[0, 2:4] = mask[3, 5] = False
  values = dict(
    logprobs=old + rng.normal(0, 0.3, old.shape),
    old_logprobs=old,
    kl_logprobs=old + rng.normal(0, 0.5, old.shape),
    mask=mask,
    advantages=rng.normal(0, 1, 6),
  )
  return {k: v.astype(np.float32) for k, v in values.items()}


def loss_and_gradient(given, kind, level, low, high, beta):
  """What TRL minimises, and its gradient [6, 8], in float64."""
  given = {k: torch.tensor(v, dtype=torch.float64) for k, v in given.items()}
  logprobs = given['logprobs'].requires_grad_()
  mask = given['mask']
  ids = torch.zeros(mask.shape, dtype=torch.long)
  inputs = dict(
    prompt_ids=ids[:, :1],
    prompt_mask=ids[:, :1] + 1,
    completion_ids=ids,
    completion_mask=mask,
    advantages=given['advantages'],
    old_per_token_logps=given['old_logprobs'],
    ref_per_token_logps=given['kl_logprobs'],
    num_items_in_batch=mask.sum(),
  )
  loss = grpo_trainer.GRPOTrainer._compute_loss(
    trainer(logprobs, kind, level, low, high, beta), None, inputs
  )
  loss.backward()
  return loss.item(), logprobs.grad.numpy()


def trainer(logprobs, kind, level, low, high, beta):
  """What `_compute_loss` reads of a trainer of one process and one step."""
  return types.SimpleNamespace(
    _get_per_token_logps_and_entropies=lambda *args, **kwargs: (
      logprobs, torch.zeros_like(logprobs), None,
    ),
    loss_type=kind,
    importance_sampling_level=level,
    epsilon_low=low,
    epsilon_high=high,
    beta=beta,
    max_completion_length=MAX_LENGTH,
    args=types.SimpleNamespace(
      use_bias_correction_kl=False, delta=None, steps_per_generation=1
    ),
    accelerator=types.SimpleNamespace(
      num_processes=1, reduce=lambda x, reduction: x, gather=lambda x: x
    ),
    model=types.SimpleNamespace(training=True),
    current_gradient_accumulation_steps=1,
    aux_loss_enabled=False,
    top_entropy_quantile=1.0,
    off_policy_mask_threshold=None,
    use_vllm=False,
    vllm_importance_sampling_correction=False,
    _entropy_bonus_enabled=False,
    _metrics=collections.defaultdict(lambda: collections.defaultdict(list)),
  )  # fmt: skip


def main():
  given = arrays()
  found = dict(given)
  for name, case in CASES.items():
    loss, gradient = loss_and_gradient(given, *case)
    found |= {f'{name}/loss': loss, f'{name}/gradient': gradient}
    print(name, loss, np.abs(gradient).max(), np.count_nonzero(gradient))
  np.savez_compressed(GOLDEN, **found)
  print(GOLDEN, GOLDEN.stat().st_size, 'bytes')


if __name__ == '__main__':
  main()
