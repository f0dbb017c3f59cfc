"""A reward model behind HTTP: `python -m k15.serve_reward --checkpoint=DIR`.

  POST /verify    {"question": ..., "response": ..., "reference": ...}
                  -> {"kind": "correct", "reason": "", ...}

It serves what a stage 'classic_rm' or 'cot_rm' has left, and tells by itself
which of the two that is.  `--config` says how long cases may be and how many
are judged at once (`reward_model`, `reward.threads`).  Health, numbers, token
and queue are those of `k15.rewards.service`; a trainer names it in
`reward_model.classic_services` or `cot_services`.
"""

from absl import app
from absl import flags
from ml_collections import config_flags

from k15.config import command_line
from k15.config import keys
from k15.rewards import reward_model
from k15.rewards import service as service_lib
from k15.runtime import model_judges

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment file.')
_CHECKPOINT = flags.DEFINE_string('checkpoint', '', 'The reward model.')
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
_PORT = flags.DEFINE_integer('port', 0, 'Port; 0: any that is free.')
_TOKEN_FILE = flags.DEFINE_string('token_file', '', 'Made if missing.')
_WITHOUT_TOKEN = flags.DEFINE_bool('without_token', False, 'On the loopback.')
_QUEUE = flags.DEFINE_integer('queue', 256, 'Cases that may wait.')


def _parse(body):
  return (reward_model.from_request(body),)


def main(argv: list[str]) -> None:
  del argv
  try:
    keys.refuse(_CONFIG.value is None, '--config is needed')
    keys.refuse(not _CHECKPOINT.value, '--checkpoint is needed')
    config = _CONFIG.value
    token = service_lib.read_token(
      _TOKEN_FILE.value, _HOST.value, _WITHOUT_TOKEN.value
    )
    judge = model_judges.load(config, _CHECKPOINT.value)
  except (ValueError, OSError) as error:
    command_line.exit_with(str(error))
  threads = config.reward.threads
  verify = reward_model.asked_by_many(judge, threads)
  service = service_lib.Service(
    verify, token, threads, _QUEUE.value, parse_request=_parse
  )
  service_lib.run(service, _HOST.value, _PORT.value, _CHECKPOINT.value)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse_flags)
