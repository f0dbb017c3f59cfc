"""For pytest's -p: JetStream's own tests run on `JetStreamDriver`."""

from k15.serving import jetstream_adapter
from k15.serving import jetstream_driver

jetstream_adapter.orchestrator.Driver = jetstream_driver.JetStreamDriver
