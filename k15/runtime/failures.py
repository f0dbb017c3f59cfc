"""Errors that end a run with one sentence and exit code 1."""

from k15.checkpoints import stage_inputs
from k15.checkpoints import state
from k15.checkpoints import tensor_files
from k15.data import conversations
from k15.devices import handover
from k15.generation import writers
from k15.rewards import scoring
from k15.rollout import requests
from k15.serving import remote

# Any other error is a mistake of k15, and shows its traceback.
SENTENCES = (
  conversations.DataError,
  writers.ServerError,
  FloatingPointError,
  handover.Torn,
  state.Mismatch,
  remote.NoWorker,
  stage_inputs.Changed,
  tensor_files.BadWeights,
  scoring.Failed,
)
# Of these, other processes may know nothing: of a slice, of verdicts, of the
# conversations that the first one reads, of a response.
OWN = (
  tensor_files.BadWeights,
  scoring.Failed,
  conversations.DataError,
  requests.NotFinite,
)
