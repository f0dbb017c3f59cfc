"""For pytest's -p: JetStream's own tests run on `RolloutDriver`."""

from k15.rollout import driver
from k15.rollout import jetstream_adapter

jetstream_adapter.orchestrator.Driver = driver.RolloutDriver
