"""Every refused value is one sentence that names the key and the numbers."""

import pytest

from experiments import base
from k15.config import checks
from k15.config import keys

KINDS = base.get_config().task.kinds
SEES = dict(
  stages=('rl',), vision__enabled=True, vision__min_pixels=256,
  vision__max_pixels=4096,
)  # fmt: skip


def _config(**changes):
  """Defaults with some keys changed; '__' stands for the dot."""
  config = base.get_config()
  for key, value in changes.items():
    group, _, name = key.partition('__')
    if name:
      config[group][name] = value
    else:
      config[group] = value
  return config


def _refusal(num_devices=8, **changes):
  with pytest.raises(keys.ConfigError) as error:
    checks.validate(_config(**changes), num_devices, KINDS)
  sentence = str(error.value)
  assert '\n' not in sentence
  return sentence


def test_defaults_are_valid():
  checks.validate(base.get_config(), 1, KINDS)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (dict(loss__tau=-1.0), 'loss.tau is -1.0, and has to be >= 0'),
    (
      dict(task__template='User:'),
      "task.template is 'User:', and has to hold '{prompt}' once",
    ),
    (
      dict(
        task__template='{prompt}',
        sft__files=(__file__,),
        sft__packing='first_fit',
      ),
      'sft.files are conversations, which task.template does not put: let them'
      ' have its words',
    ),
    (
      dict(task__template='{prompt}', stages=('sft', 'rejection_sft')),
      "stage 'rejection_sft' learns conversations, which task.template does not"
      ' put: a model of R1-Zero is sampled as it is',
    ),
    (
      dict(
        stages=('sft', 'rejection_sft'), rejection_sft__from_checkpoint=True
      ),
      "checkpoint is '', and rejection_sft.from_checkpoint begins with it",
    ),
    (
      dict(rl_all__late_domains=('chat',)),
      "rl_all.late_domains: 'chat' is not 'domain:iteration'",
    ),
    (dict(loss__tau=float('nan')), 'loss.tau is nan, and has to be >= 0'),
    (
      dict(optimizer__learning_rate=float('inf')),
      'optimizer.learning_rate is inf, and has to be > 0',
    ),
    (
      dict(length_reward__weight=2.0),
      'length_reward.weight is 2.0, and has to be >= 0 and < 2',
    ),
    (
      dict(task__slip_rate=1.5),
      'task.slip_rate is 1.5, and has to be >= 0 and <= 1',
    ),
    (
      dict(problem_sampler__min_weight=0.0),
      'problem_sampler.min_weight is 0.0, and has to be > 0 and <= 1',
    ),
    (
      dict(optimizer__beta2=1.0),
      'optimizer.beta2 is 1.0, and has to be >= 0 and < 1',
    ),
    (
      dict(rollout__temperature=0.0),
      'rollout.temperature is 0.0, and has to be > 0',
    ),
    (
      dict(evaluation__top_p=0.0),
      'evaluation.top_p is 0.0, and has to be > 0 and <= 1',
    ),
    (
      dict(rl__loss_segments='last:0'),
      "rl.loss_segments is 'last:0', and has to be 'all', 'last', or 'last:m'"
      ' with a whole m >= 1',
    ),
    (
      dict(evaluation__interval=1.0),
      'evaluation.interval is 1.0, and has to be > 0 and < 1',
    ),
    (
      dict(evaluation__pass_at=(1, 0)),
      'evaluation.pass_at is 0, and has to be >= 1',
    ),
    (dict(rl__iterations=-1), 'rl.iterations is -1, and has to be >= 0'),
    (dict(rollout__num_slots=0), 'rollout.num_slots is 0, and has to be >= 1'),
    (dict(seed=-1), 'seed is -1, and has to be >= 0 and < 4294967296'),
  ],
)
def test_numbers(changes, sentence):
  assert _refusal(**changes) == sentence


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    (
      dict(evaluation__temperature=0.0, evaluation__samples=2),
      'evaluation.samples is 2, and at evaluation.temperature 0 all samples',
    ),
    (
      dict(evaluation__temperature=0.0, evaluation__last_samples=4),
      'evaluation.last_samples is 4, and at evaluation.temperature 0 all',
    ),
    (dict(stages=('evaluate',)), "checkpoint is '', and there is no model"),
    (
      dict(evaluation__sets=('a:/none.json',)),
      "evaluation.sets: no file '/none.json'",
    ),
    (
      dict(evaluation__sets=(__file__, __file__)),
      "evaluation.sets: 'test_checks' is there twice",
    ),
    (
      dict(evaluation__rewards=('b:math_answers',)),
      "evaluation.rewards names ['b'], and evaluation.sets has []",
    ),
    (
      dict(
        evaluation__sets=(f'a:{__file__}',), evaluation__rewards=('a:luck',)
      ),
      "evaluation.rewards: 'luck' is not one of",
    ),
    (
      dict(evaluation__sets=(f'a:{__file__}',), evaluation__templates=('a:x',)),
      "evaluation.templates holds 'x', which has no '{prompt}'",
    ),
  ],
)
def test_evaluation(changes, part):
  assert part in _refusal(**changes)


def test_greedy_evaluation_and_sets_without_a_task():
  config = _config(evaluation__temperature=0.0)
  checks.validate(config, 1, config.task.kinds)
  config = _config(
    stages=('evaluate',),
    checkpoint='somewhere',
    task__name='file',
    evaluation__sets=(f'a:{__file__}',),
  )
  checks.validate(config, 1, config.task.kinds)


@pytest.mark.parametrize(
  ('changes', 'parts'),
  [
    (
      dict(loss__method='ppo'),
      ("'ppo'", 'mirror_descent, reinforce, rest, grpo'),
    ),
    (dict(policy__dtype='float16'), ("'float16'", 'float32, bfloat16')),
    (dict(rollout__dtype='half'), ("'half'", "of '', float32, bfloat16")),
    (dict(rollout__cache_dtype='int4'), ("'int4'", 'bfloat16, int8')),
    (
      dict(stages=()),
      ('stages is empty', 'sft_long, classic_rm, cot_rm, long_cot, rl'),
    ),
    (dict(stages=('sft,rl',)), ("'sft,rl'", 'a tuple is written')),
    (dict(stages=(1,)), ('stages: 1 is not one of pretrain, pretrain_text',)),
    (dict(task__kinds=()), ('task.kinds is empty', 'add')),
    (dict(task__kinds=('add', 'cube')), ("'cube'", 'subtract')),
    (dict(task__answer_marker=''), ("task.answer_marker is ''",)),
    (dict(tokenizer__words=('a', '')), ("tokenizer.words holds ''",)),
    (dict(tokenizer__words=('a', 'a')), ("tokenizer.words holds 'a'",)),
    (dict(tokenizer__words=(3,)), ('tokenizer.words holds 3',)),
  ],
)
def test_texts_and_tuples(changes, parts):
  sentence = _refusal(**changes)
  assert all(part in sentence for part in parts), sentence


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(task__min_difficulty=0.5, task__max_difficulty=0.25),
      'task.min_difficulty is 0.5, above task.max_difficulty, 0.25',
    ),
    (
      dict(vision__min_pixels=9000, vision__max_pixels=4096),
      'vision.min_pixels is 9000, above vision.max_pixels, 4096',
    ),
    (
      dict(vision__enabled=True, stages=('rl',)),
      "vision.min_pixels is 0, and checkpoint is '', which could say it",
    ),
    (
      dict(SEES, vision__family='qwen2_vl'),
      'policy.qkv_bias and policy.qk_norm are (False, True), and beside a tower'
      " of vision.family 'qwen2_vl' have to be (True, False)",
    ),
    (
      dict(SEES, vision__deepstack=(1, 0)),
      'vision.deepstack is [1, 0], and has to rise, for no more than the 4 of'
      ' policy.num_layers',
    ),
    (
      dict(SEES, vision__deepstack=(3,)),
      'vision.deepstack is (3,), and blocks are numbered from 0 to 2',
    ),
    (
      dict(SEES, vision__mrope_section=(2, 7, 7)),
      'vision.mrope_section is (2, 7, 7), and has to be three numbers that can'
      ' take turns and make policy.head_dim / 2 = 16',
    ),
    (
      dict(vision__patch_buckets=(16, 8)),
      'vision.patch_buckets is (16, 8), and has to be numbers of patches that'
      ' rise',
    ),
    (
      dict(task__min_steps=3, task__max_steps=2),
      'task.min_steps is 3, above task.max_steps, 2',
    ),
    (
      dict(stages=('rl', 'evaluate'), evaluation__before=True),
      "checkpoint is '', and evaluation.before has no model to evaluate",
    ),
    (
      dict(
        loss__method='grpo',
        loss__grpo_ratio='sequence',
        loss__rollout_correction='truncate',
      ),
      "loss.grpo_ratio is 'sequence', and takes no weights of tokens: "
      "loss.rollout_correction_level has to be 'sequence'",
    ),
    (
      dict(loss__gamma=0.99, loss__method='token_clip'),
      'loss.gamma is 0.99, which weighs tokens by how many follow them, and'
      " loss.method 'token_clip', loss.grpo_ratio 'token' and loss.ptx_weight"
      ' 0.0 take only 1',
    ),
    (
      dict(rl__waits_for_group=False, rl__refill_rounds=2),
      'rl.waits_for_group is False, and rl.refill_rounds, 2, needs whole'
      ' groups',
    ),
    (
      dict(rl__waits_for_group=False, loss__baseline='leave_one_out'),
      "rl.waits_for_group is False, and loss.baseline, 'leave_one_out', needs"
      ' whole groups',
    ),
    (
      dict(loss__method='token_clip', loss__rollout_correction='mask'),
      "loss.rollout_correction is 'mask', and loss.method 'token_clip' has the"
      ' ratio to what sampled in it',
    ),
    (
      dict(loss__least_format=0.5),
      'loss.least_format is 0.5, and no reward adds a format',
    ),
    (
      dict(rollout__domain_max_lengths=('math:many',)),
      "rollout.domain_max_lengths: 'math:many' is not 'domain:tokens'",
    ),
    (
      dict(loss__rollout_correction_cap=0.5),
      'loss.rollout_correction_cap is 0.5, and has to be >= 1',
    ),
    (
      dict(policy__num_heads=4, policy__num_kv_heads=3),
      'policy.num_heads is 4, not a multiple of policy.num_kv_heads, 3',
    ),
    (
      dict(policy__lora_rank=65),
      "policy.lora_rank is 65, and 'k' is of (128, 64), whose rank is at most"
      ' 64',
    ),
    (
      dict(policy__lora_targets=('q', 'embedding')),
      "policy.lora_targets: 'embedding' is not one of q, k, v, o, gate, up, "
      'down',
    ),
    (
      dict(policy__lora_targets=('q', 'q')),
      "policy.lora_targets is ('q', 'q'), and has to name each once",
    ),
    (
      dict(policy__head_dim=33),
      'policy.head_dim is 33; rotary positions need an even one',
    ),
    (
      dict(policy__rope_low_freq_factor=4.0),
      'policy.rope_low_freq_factor is 4.0, not below '
      'policy.rope_high_freq_factor, 4.0',
    ),
    (
      dict(policy__rope_scaling='yarn', policy__rope_theta=1.0),
      "policy.rope_theta is 1.0, and policy.rope_scaling 'yarn' needs > 1",
    ),
    (
      dict(rollout__token_budget=257),
      'rollout.token_budget is 257, above rollout.max_length, 256',
    ),
    (
      dict(rollout__num_slots=16),
      'rollout.prefill_batch is 32, above rollout.num_slots, 16',
    ),
    (
      dict(rollout__repetition_count=1),
      'rollout.repetition_count is 1, and everything comes once: 0 turns the '
      'detector off, >= 2 on',
    ),
    (
      dict(sft__batch_tokens=319),  # A row is 64 + 256 = 320 tokens.
      'sft.batch_tokens is 319, less than one row of '
      'rollout.max_prompt_length 64 + rollout.max_length 256',
    ),
    (
      dict(rl__problems_per_iteration=5000),
      'rl.problems_per_iteration is 5000, above task.train_problems, 4096',
    ),
    (
      dict(rl__updates_per_iteration=33),
      'rl.updates_per_iteration is 33, above rl.problems_per_iteration, 32',
    ),
    (
      dict(sft__end_learning_rate=0.5),
      'sft.end_learning_rate is 0.5, above sft.learning_rate, 0.01',
    ),
    (
      dict(problem_sampler__retry_after=5),
      'problem_sampler.retry_after is 5, and problem_sampler.leave_out_after is'
      ' 0: nothing is left out',
    ),
    (
      dict(problem_sampler__retry_at_success_rate=0.5),
      'problem_sampler.retry_at_success_rate is 0.5, and'
      ' problem_sampler.leave_out_after is 0: nothing is left out',
    ),
    (
      dict(stages=('sft', 'dpo'), long2short__samples=1),
      'long2short.samples is 1, and stage dpo compares >= 2 responses',
    ),
    (
      dict(sft__steps=50),
      'sft.warmup_steps is 50, and has to be < sft.steps, 50',
    ),
  ],
)
def test_keys_against_each_other(changes, sentence):
  assert _refusal(**changes) == sentence


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(sft__epochs=1),
      "sft.packing is 'best_fit', and sft.files and sft.epochs need"
      " 'first_fit'",
    ),
    (dict(sft_long__files=('no.jsonl',)), "sft_long.files: no file 'no.jsonl'"),
    (
      dict(sft_long__files=(__file__,), sft_long__weights=(1, 2)),
      'sft_long.weights has 2 entries for 1 files',
    ),
    (
      dict(sft_long__files=(__file__,), sft_long__weights=(0.0,)),
      'sft_long.weights holds 0.0, and has to hold numbers > 0',
    ),
    (
      dict(stages=('sft_long',), sft_long__batch_tokens=1000),
      'sft_long.batch_tokens is 1000, less than one row of sft_long.row_tokens'
      ' 131072',
    ),
    (
      dict(long_cot_examples__server='there:80'),
      "long_cot_examples.server is 'there:80', and has to be"
      " 'http://host:port/v1'",
    ),
    (
      dict(long_cot_examples__server='http://there/v1'),
      'long_cot_examples.server and server_model belong together, and one is'
      " ''",
    ),
    (
      dict(reward__default='cot_rm'),
      "reward 'cot_rm' has no model: none of ['reward_model.cot',"
      " 'reward_model.cot_services', 'reward_model.cot_server'] names one, and"
      " stages ('sft', 'rl') train none",
    ),
    (
      dict(stages=('sft', 'cot_rm', 'rl'), reward__default='cot_rm'),
      "reward.truth is '', and what comes before stage 'cot_rm' would be"
      ' evaluated by a model that is not there yet',
    ),
    (
      dict(stages=('cot_rm',), cot_rm__row_tokens=1000),
      'cot_rm.row_tokens is 1000, and the longest judgement has 1024 tokens,'
      ' reward_model.max_prompt_length + reward_model.max_length',
    ),
    (
      dict(reward_model__cot_server='http://there/v1'),
      'reward_model.cot_server and cot_server_model belong together, and one'
      " is ''",
    ),
    (
      dict(reward_model__classic_services=('there:80',)),
      "reward_model.classic_services holds 'there:80', and has to hold"
      " 'http://host:port'",
    ),
    (
      dict(stages=('long_cot',), long_cot__files=(__file__,)),
      'long_cot.files is set, and stage long_cot makes its own examples',
    ),
    (
      dict(long_cot_examples__least_processes=5),
      'long_cot_examples.least_processes is 5, and has to be >= 0 and <= 4',
    ),
  ],
)
def test_supervised_stages(changes, sentence):
  assert _refusal(**changes) == sentence


def test_a_row_of_a_stage_that_is_not_run_may_be_long():
  changes = dict(rollout__max_length=30000)
  checks.validate(_config(stages=('rl',), **changes), 1, KINDS)
  assert 'sft.batch_tokens is 8192, less than' in _refusal(**changes)


def test_no_sft_steps_need_no_warmup():
  checks.validate(_config(sft__steps=0), 1, KINDS)


@pytest.mark.parametrize(
  ('method', 'baseline', 'tau_0', 'group_1'),
  [  # Whether tau = 0 and group_size = 1 are refused.
    ('mirror_descent', 'mean', True, True),
    ('mirror_descent', 'none', True, False),
    ('reinforce', 'mean', False, True),
    ('reinforce', 'tau_log_z', True, True),
    ('reinforce', 'none', False, False),
    ('rest', 'mean', False, False),
    ('grpo', 'none', False, True),
    ('token_clip', 'mean', False, True),
  ],
)
def test_tau_and_group_size_by_method(method, baseline, tau_0, group_1):
  chosen = dict(loss__method=method, loss__baseline=baseline)
  for change, refused, number in (
    (dict(loss__tau=0.0), tau_0, 'loss.tau is 0.0'),
    (dict(rl__group_size=1), group_1, 'rl.group_size is 1'),
  ):
    if refused:
      sentence = _refusal(**chosen, **change)
      assert number in sentence
      assert repr(method) in sentence
    else:
      checks.validate(_config(**chosen, **change), 1, KINDS)


@pytest.mark.parametrize(
  ('changes', 'parts'),
  [
    (dict(mesh__data=16), ('16 devices', 'the 8')),
    (dict(mesh__data=-1, mesh__tensor=3), ('3 devices', 'the 8')),
    (dict(mesh__data=-1, mesh__fsdp=-1), ('at most one is -1',)),
    (dict(mesh__tensor=0), ('sizes are >= 1',)),
    (dict(mesh__tensor=-2), ('mesh.tensor is -2', '>= -1')),
    (
      dict(mesh__data=-1, optimizer__micro_batch_rows=12),
      ('optimizer.micro_batch_rows is 12', 'data * fsdp, 8'),
    ),
    (
      dict(mesh__data=2, mesh__fsdp=4, rollout__num_slots=36),
      ('rollout.num_slots is 36', 'data * fsdp, 8'),
    ),
    (
      dict(mesh__fsdp=3, policy__d_model=128, optimizer__micro_batch_rows=3)
      | dict(rollout__num_slots=3, rollout__prefill_batch=3),
      ('policy.d_model is 128', 'fsdp, 3'),
    ),
    (dict(mesh__tensor=8), ('policy.num_heads is 4', 'tensor, 8')),
    (dict(mesh__tensor=4, policy__d_ff=386), ('policy.d_ff is 386', '4')),
  ],
)
def test_mesh(changes, parts):
  sentence = _refusal(8, **changes)
  assert all(part in sentence for part in parts), sentence


def test_meshes_that_fit():
  for changes, devices in (
    (dict(mesh__data=-1), 8),
    (dict(mesh__data=-1, mesh__fsdp=2, mesh__tensor=2), 8),
    (dict(mesh__data=2), 8),  # The first two of eight.
  ):
    checks.validate(_config(**changes), devices, KINDS)


def test_files_of_problems(tmp_path):
  path = tmp_path / 'train.jsonl'
  assert "task.train_path is ''" in _refusal(task__name='file')
  chosen = dict(task__name='file', task__train_path=str(path))
  assert _refusal(**chosen) == f'task.train_path: no file {str(path)!r}'
  path.write_text('')
  checks.validate(_config(**chosen), 1, KINDS)
  assert 'task.held_out_path: no file' in _refusal(
    **chosen, task__held_out_path='gone.jsonl'
  )


def test_a_replaced_group_must_be_complete():
  with pytest.raises(keys.ConfigError, match=r'^loss.tau is missing$'):
    checks.validate(_config(loss=dict(method='rest')), 1, KINDS)


def test_workers():
  names = ('localhost:9100', 'local', '[::1]:9', 'host-7.example:65535')
  checks.validate(_config(rollout__workers=names), 1, KINDS)
  for name in ('host', ':9100', 'host:0', 'host:65536', 'host:x', 7):
    sentence = _refusal(rollout__workers=('local', name))
    assert sentence == (
      f"rollout.workers holds {name!r}, and has to hold 'host:port', or"
      " 'local' for this process"
    )
  sentence = _refusal(rollout__workers=('local', 'local'))
  assert sentence == "rollout.workers holds 'local' twice"
  sentence = _refusal(rollout__live_requests='drop')
  assert "'drop' is not one of interrupt, drain, in_flight" in sentence


def test_files_of_workers(tmp_path):
  sentence = _refusal(rollout__token_file='/nowhere')
  assert sentence == "rollout.token_file: no file '/nowhere'"
  file = tmp_path / 'file'
  file.touch()
  sentence = _refusal(rollout__tls_key=str(file))
  assert sentence.startswith('mutual TLS needs three files')
  files = dict.fromkeys(
    (
      'rollout__tls_authority',
      'rollout__tls_certificate',
      'rollout__tls_key',
      'rollout__token_file',
    ),
    str(file),
  )
  checks.validate(_config(**files), 1, KINDS)


TEXT_STEPS = dict(curation__samples=0, curation__guesses=0)


@pytest.mark.parametrize(
  ('stages', 'changes'),
  [
    (('curate',), TEXT_STEPS),
    (('curate', 'sft', 'rl'), TEXT_STEPS),
    (('sft', 'curate', 'rl'), {}),
    (('curate', 'rl'), dict(checkpoint='a/model')),
  ],
)
def test_curation_may_stand_on_either_side_of_sft(stages, changes):
  checks.validate(_config(stages=stages, **changes), 8, KINDS)


@pytest.mark.parametrize(
  ('changes', 'part'),
  [
    (dict(stages=('rl', 'curate')), 'has to keep the order'),
    (dict(stages=('rl', 'curate', 'short_rl')), 'has to keep the order'),
    (dict(stages=('dpo', 'curate', 'short_rl')), 'has to keep the order'),
    (dict(stages=('curate', 'curate')), 'each once'),
    (
      dict(stages=('long_cot', 'curate', 'rl')),
      'long_cot would draw from problems that are not curated yet',
    ),
    (
      TEXT_STEPS | dict(stages=('curate', 'evaluate')),
      'no model to evaluate',
    ),
    (dict(stages=('curate', 'rl')), 'have none before curate'),
    (
      TEXT_STEPS | dict(stages=('curate',), curation__tagger='model'),
      'want a model',
    ),
    (
      dict(stages=('sft', 'curate'), curation__guess_max_length=999),
      'curation.guess_max_length is 999, above rollout.max_length, 256',
    ),
    (dict(curation__evaluation_paths=('./file',)), "no file './file'"),
    (dict(curation__excluded_types=('essay',)), "'essay' is not one of"),
    (dict(curation__max_tag_share=0.0), 'has to be > 0 and <= 1'),
    (dict(curation__tagger='oracle'), 'rules, model'),
  ],
)
def test_curation_that_cannot_run(changes, part):
  assert part in _refusal(**changes)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(facts__min_steps=4),
      'facts.min_steps is 4, above facts.max_steps, 3',
    ),
    (
      dict(facts__hard_steps=4),
      'facts.hard_steps is 4, above facts.min_steps, 3',
    ),
    (
      dict(facts__places=3, facts__lands=4),
      'facts.lands is 4, above facts.places, 3',
    ),
    (
      dict(facts__lands=1),
      'facts.lands is 1, and every answer would be the same',
    ),
    (
      dict(facts__lands=0),
      'facts.luck is 0.45, and facts.lands 0 asks for the place: no wrong step'
      ' leads there',
    ),
    (
      dict(facts__hard_right=(0.5, 0.2)),
      'facts.hard_right is (0.5, 0.2), and has to be the least chance and the'
      ' greatest',
    ),
    (
      dict(facts__easy_right=(0.5, 1.2)),
      'facts.easy_right is 1.2, and has to be >= 0 and <= 1',
    ),
    (
      dict(facts__hard_share=0.5),
      'facts.hard_share is 0.5, and facts.hard_facts 1.0: problems of one kind'
      ' have no facts',
    ),
    (
      dict(facts__hard_share=0.0, facts__hard_facts=0.0),
      'facts.held_out_hard_share is 1.0, and facts.hard_facts 0.0: problems of'
      ' one kind have no facts',
    ),
    (
      dict(facts__places=2),
      'facts.places is 2, and has to be >= 3 and <= 12',
    ),
  ],
)
def test_tables_of_facts_that_cannot_be(changes, sentence):
  assert _refusal(**changes) == sentence


LONG = dict(stages=('long_context',))


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      dict(stages=('pretrain',), task__name='word_problems'),
      "pretrain.files is empty, and task.name 'word_problems' generates no"
      " documents, as 'arithmetic' does",
    ),
    (
      dict(cooldown__weights=('qa:-1',)),
      "cooldown.weights: 'qa:-1' is not 'domain:weight' with a weight >= 0",
    ),
    (dict(pretrain__files=('no',)), "pretrain.files: no file 'no'"),
    (
      dict(long_context__long_files=('no',)),
      "long_context.long_files: no file 'no'",
    ),
    (
      dict(stages=('pretrain',), pretrain__batch_tokens=64),
      'pretrain.row_tokens is 4096, above pretrain.batch_tokens, 64',
    ),
    (
      dict(long_context__lengths=(64, 32)),
      'long_context.lengths is (64, 32), and has to hold whole numbers that'
      ' rise',
    ),
    (
      dict(long_context__lengths=()),
      'long_context.lengths is (), and has to hold whole numbers that rise',
    ),
    (
      dict(long_context__lengths=('64',)),
      'long_context.lengths is 64, and has to be >= 2',
    ),
    (
      LONG | dict(long_context__batch_tokens=4096),
      'long_context.batch_tokens is 4096, less than one row of 131072',
    ),
    (
      LONG | dict(long_context__steps=2, long_context__warmup_steps=0),
      'long_context.steps is 2, and there are 3 lengths',
    ),
    (
      LONG | dict(long_context__files=(__file__,)),
      'long_context.full_attention_share is 0.4, and long_context.long_files'
      ' is empty',
    ),
    (
      LONG | dict(rollout__workers=('local',)),
      "rollout.workers is ('local',), which decode with policy.rope_theta, and"
      ' stage long_context changes it: let the stages after it be a run of'
      ' their own, from its model',
    ),
  ],
)
def test_stages_on_documents(changes, sentence):
  assert _refusal(**changes) == sentence


def test_the_papers_long_context():
  """Section 2.5.1: 4,096 to 131,072, a base of 1,000,000, 40 % full."""
  config = base.get_config()
  group = config.long_context
  assert group.lengths == (4096, 32768, 131072)
  assert (group.rope_theta, group.full_attention_share) == (1000000.0, 0.4)
  config.stages = ('pretrain', 'cooldown', 'long_context', 'sft', 'rl')
  checks.validate(config, 1, KINDS)
