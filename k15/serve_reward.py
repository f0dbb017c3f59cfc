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


def _parse(body):
  return (reward_model.from_request(body),)


def define_flags() -> None:
  """Not at import: other commands have flags of the same names."""
  config_flags.DEFINE_config_file('config', None, 'Experiment file.')
  flags.DEFINE_string('checkpoint', '', 'The reward model.')
  flags.DEFINE_string('host', '127.0.0.1', 'Address to listen on.')
  flags.DEFINE_integer('port', 0, 'Port; 0: any that is free.')
  flags.DEFINE_string('token_file', '', 'Made if missing.')
  flags.DEFINE_bool('without_token', False, 'On the loopback.')
  flags.DEFINE_integer('queue', 256, 'Cases that may wait.')


def main(argv: list[str]) -> None:
  del argv
  options = flags.FLAGS
  try:
    keys.refuse(options.config is None, '--config is needed')
    keys.refuse(not options.checkpoint, '--checkpoint is needed')
    config = options.config
    token = service_lib.read_token(
      options.token_file, options.host, options.without_token
    )
    judge = model_judges.load(config, options.checkpoint)
  except (ValueError, OSError) as error:
    command_line.exit_with(str(error))
  threads = config.reward.threads
  verify = reward_model.asked_by_many(judge, threads)
  service = service_lib.Service(
    verify, token, threads, options.queue, parse_request=_parse
  )
  service_lib.run(service, options.host, options.port, options.checkpoint)


if __name__ == '__main__':
  define_flags()
  app.run(main, flags_parser=command_line.parse_flags)
