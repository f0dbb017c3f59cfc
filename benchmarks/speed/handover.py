"""Time and bytes of a hand-over, from fsdp = 8 to data = 2 x tensor = 4.

    python -m benchmarks.speed.handover

Eight devices of this machine's CPU; the bytes are those of any eight devices,
the time is not.  Beside it: what the compiler would have sent by itself.
`--tiny` moves a policy of two narrow layers.
"""

import argparse
import dataclasses

import jax
import numpy as np

from k15.devices import handover
from k15.devices import sharding
from k15.model import policy
from launch.plan import hlo

CONFIG = policy.PolicyConfig(
  vocab_size=4096,
  num_layers=8,
  d_model=512,
  num_heads=8,
  num_kv_heads=4,
  head_dim=64,
  d_ff=1536,
)
TINY = dict(vocab_size=512, num_layers=2, d_model=64, head_dim=16, d_ff=128)
REPEATS = 5


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--tiny', action='store_true')
  is_tiny = parser.parse_args().tiny
  shape = dataclasses.replace(CONFIG, **(TINY if is_tiny else {}))
  # Before anything asks for a device, for their number is fixed from then on.
  jax.config.update('jax_num_cpu_devices', 8)
  boxed = jax.eval_shape(lambda k: policy.init(shape, k), jax.random.key(0))
  training, rollout = (
    sharding.param_shardings(sharding.make_mesh(*sizes), boxed)
    for sizes in ((1, 8, 1), (2, 1, 4))
  )
  make = jax.jit(
    lambda key: jax.tree.map(
      lambda x: x.value if hasattr(x, 'names') else x,
      policy.init(shape, key),
      is_leaf=lambda x: hasattr(x, 'names'),
    ),
    out_shardings=training,
  )
  over = handover.HandOver(rollout)
  seconds = []
  for version in range(REPEATS + 1):
    over.update(jax.block_until_ready(make(jax.random.key(version))), version)
    measured = over.pop_metrics()
    seconds.append(measured['handover/seconds'])
  params = make(jax.random.key(0))
  leaves = list(
    zip(jax.tree.leaves(params), jax.tree.leaves(rollout), strict=True)
  )
  total = sum(x.nbytes for x, _ in leaves)
  print(f'parameters            {total:12,} bytes')
  print(f'that had to move      {measured["handover/bytes"]:12,.0f} bytes')
  ours = sum(
    _sent(handover._mover(x.sharding, to, x.ndim), x) for x, to in leaves
  )
  plain = sum(_sent(jax.jit(_same, out_shardings=to), x) for x, to in leaves)
  print(f'sent by these steps   {ours:12,.0f} bytes')
  print(f'by the compiler alone {plain:12,.0f} bytes')
  print(f'first hand-over       {seconds[0]:12.3f} s, with compilation')
  print(f'median of the others  {np.median(seconds[1:]):12.3f} s')


def _same(x):
  return x


def _sent(program, x):
  """Bytes that its collectives send, on all eight devices."""
  found = hlo.collectives(program.lower(x).compile().as_text())
  return 8 * sum(each.sent_bytes for each in found)


if __name__ == '__main__':
  main()
