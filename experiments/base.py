"""Every configuration key of k15, written once, with its meaning and unit.

An experiment file imports this page, changes what it needs and returns the
config; the command line overrides any key (`--config.loss.tau=0.4`).  Three
parts: the experiment, stages beside warm-up and RL, and machines; a group of
keys may be in several.  What a value may be is said in `k15/config/keys.py`.

Values that the Kimi k1.5 paper does not publish are marked NP: they are choices
of this project, never the paper's.  "k1.5 x.y" names a section of arXiv
2501.12599.
"""

from ml_collections import config_dict


def get_config() -> config_dict.ConfigDict:
  """Returns the locked defaults."""
  groups = {}
  for part in (_experiment(), _other_stages(), _machines()):
    for name, value in part.items():
      groups[name] = groups[name] | value if name in groups else value
  return config_dict.create(**groups).lock()


def smoke(config: config_dict.ConfigDict) -> None:
  """For `:smoke`: warm-up and RL run in seconds, and nothing is learnt."""
  config.task.update(train_problems=64, held_out_problems=16)
  config.policy.update(
    num_layers=1, d_model=32, num_heads=2, num_kv_heads=1, head_dim=16,
    d_ff=64, dtype='float32',
  )  # fmt: skip
  config.mesh.fsdp = 1
  config.sft.update(
    num_examples=200, steps=10, batch_tokens=1024, warmup_steps=2
  )
  config.rl.update(
    iterations=4, problems_per_iteration=4, group_size=2,
    updates_per_iteration=2,
  )  # fmt: skip
  config.rollout.update(
    num_slots=8, prefill_batch=4, tokens_per_call=8, max_length=64,
    token_budget=24, mesh=(), dtype='',
  )  # fmt: skip
  config.optimizer.micro_batch_rows = 4
  config.evaluation.every = 0
  config.saving.update(every_iterations=2, every_sft_steps=5)


# -- 1. The experiment ---------------------------------------------------------


def _experiment():
  return dict(
    seed=0,  # of everything random
    # What the run begins with: a directory in the Hugging Face layout, or its
    # name on the hub, 'org/name@revision', which data sets may have too; a GGUF
    # file; or the workdir of another run, whose last stage is meant.  Its
    # shape, `policy` up to the embeddings, and its tokenizer take the place of
    # those below.
    checkpoint='',  # empty: random weights
    # In the order of `k15/config/stages.py`: 'pretrain', 'pretrain_text',
    # 'pretrain_tower', 'pretrain_joint', 'cooldown', 'long_context', 'curate'
    # (if it samples, with a checkpoint or after 'sft'), 'sft', 'sft_long',
    # 'classic_rm', 'cot_rm', 'long_cot', 'rl', 'rejection_sft', 'rl_all',
    # 'merge', 'shortest', 'dpo', 'short_rl', 'evaluate'.
    stages=('sft', 'rl'),
    task=dict(
      # Problems without end of whole numbers, 'arithmetic', or in words,
      # 'word_problems'; some that have several right forms of their answer,
      # 'equal_answers'; walks over a table of facts, 'facts', see `facts`;
      # pictures beside arithmetic, 'pictures', see `vision`; 'file' reads them.
      name='arithmetic',
      # -- name='file': JSONL, JSON (an array) or Parquet.  A problem may lack
      # domain, discipline, difficulty, `id` and the solution that SFT needs.
      train_path='',
      held_out_path='',  # empty: `held_out_problems` are taken from train_path
      prompt_field='prompt', answer_field='answer', response_field='response',
      domain_field='domain', discipline_field='discipline',
      difficulty_field='difficulty',
      hardest=1.0,  # its greatest value: labels are divided by it
      # Problems without an answer or with too long a prompt, conversations that
      # say nothing or that a template refuses: left out, or the run refused.
      drop_unusable=False,
      shuffle=True,  # before the first are taken: files are sorted by subject
      # -- all
      train_problems=4096,  # size of the RL prompt set D
      held_out_problems=320,  # never trained on
      prompt_suffix='\n',  # between a prompt and its response
      use_chat_template=True,  # of the checkpoint: a prompt is a user's turn
      system_prompt='',  # of the chat; empty: whatever the template does
      # Instead of a chat, for base models: a text with '{prompt}' in it.
      template='',
      answer_marker='####',  # the final answer is the text after the last one
    ),
    tokenizer=dict(words=()),  # of one token each; bytes are the others
    policy=dict(
      vocab_size=0,  # rows of the embedding, V; 0: as the tokenizer has
      num_layers=4, d_model=128, d_ff=384,  # SwiGLU width
      # Query heads H, key-value heads N, which divides H, and their size h.
      num_heads=4, num_kv_heads=2, head_dim=32,
      qkv_bias=False, qk_norm=True,  # Qwen2: True, False; Qwen3: False, True
      rms_norm_eps=1e-6, tie_embeddings=True,
      # Instead of the policy, every stage that trains trains low-rank adapters
      # of it: their rank r (0: the policy itself), LoRA's alpha, and the
      # kernels W that become W + (alpha / r) A B; NP.
      lora_rank=0, lora_alpha=32.0,
      lora_targets=('q', 'k', 'v', 'o', 'gate', 'up', 'down'),
    ),
    # The first phase of supervised fine-tuning, k1.5 2.5.2, or all of it: the
    # arithmetic family's warm-up; `experiments/sft.py` has the paper's values.
    sft=_supervised() | dict(num_examples=20000),  # generated warm-up traces
    rl=dict(
      iterations=60,  # NP
      problems_per_iteration=32,  # new groups opened in each iteration, NP
      group_size=8,  # k, responses per problem; NP (Kimina-Prover: 8)
      updates_per_iteration=4,  # steps of an epoch, if all groups complete; NP
      epochs=1,  # passes over an iteration's groups
      # Of the longest responses, those a row of training holds; the ones of a
      # group share its prompt there.  More make longer rows: take fewer
      # `optimizer.micro_batch_rows`.  0, or attention by 'splash': none share.
      row_responses=1,
      loss_segments='all',  # or a response's 'last', 'last:m'; 2.6.2 is open
      # Times at most that an iteration draws new problems for those whose
      # rewards are all equal, and trains on the others alone: DAPO's dynamic
      # sampling, which has no bound.
      refill_rounds=0,
      # Iterations before this one whose right responses, where better than
      # their group, are trained on again, from the iteration `start` on: the
      # positive examples of Kimi-Dev; NP; 0: none.
      positive_replay=0, positive_replay_start=0,
      # False: a response is trained on in the iteration in which it ends, and
      # its baseline is of the rewards that its group has by then.
      waits_for_group=True,
      # Of a policy that sees: 'all', the 'vision' tower alone, or the 'text',
      # all but it; which of them k1.5 trains in RL is NP.
      trains='all',
      # Workers sample the next iteration while this one is trained on: under
      # weights one iteration old, see `loss.rollout_correction`.  Of a run
      # without `rollout.workers`, which decodes itself, it changes nothing.
      overlap=False,
      max_group_age=8,  # iterations; what older ones lack counts as cut
      repetition_penalty=0.0,  # subtracted from the reward; k1.5 2.6.2, NP
      overlong_penalty=0.0,  # the same of what is cut at its longest; K2, NP
      # Last tokens of the longest response over which that penalty grows from
      # 0, finished or not: DAPO's soft overlong punishment, which has 4,096 and
      # a penalty of 1; 0: none.
      overlong_tokens=0,
      log_trajectories=4,  # responses written to disk per iteration
    ),
    rollout=dict(
      max_prompt_length=64, max_length=256,  # tokens of prompt, of response
      token_budget=128,  # tokens a response may grow per iteration, NP
      temperature=1.0,  # NP
      # Iterations in which it goes to another, linearly, as K2 lets it decay;
      # NP; 0: it is constant.
      decay_iterations=0, end_temperature=1.0,
      # Longest responses by domain, 'domain:tokens' each, where that is less:
      # K2's budgets by type of task, NP.
      domain_max_lengths=(),
      num_slots=128, prefill_batch=32,  # responses decoded, prefilled at once
      tokens_per_call=32,  # decode steps per device dispatch
    ),
    reward=dict(
      # What judges a response, by the problem's domain: `default`, unless one
      # of `routes`, 'domain:reward' each, names another; '<image>:reward' is of
      # problems with pictures whose domain has none.
      #   exact_answer  the answer after the last `task.answer_marker`
      #   math_answers  the boxed answer, equal as mathematics
      #   code_tests    the program passes the problem's tests, in a sandbox
      #   r1_format     <think> </think> <answer> </answer>, nothing else
      #   r1_latin, r1_cjk  the share of thinking that is in this script
      #   classic_rm, cot_rm  a model says so: see `reward_model`
      # A correct answer earns 1.  'math_answers+0.5*r1_format' adds what the
      # format earns, as DeepSeek-R1-Zero does; the first says which are right.
      # 'summary(r1_format)' shows a reward what follows the thinking, no more.
      default='exact_answer', routes=(),
      # A response that was cut, by its length, for repeating itself or for the
      # age of its group, earns 0 and is not right, in evaluation too; False
      # judges it as it stands.  (Guesses of curation always are.)
      cut_is_wrong=True,
      # A rule that judges beside a reward model and earns nothing: it tells how
      # often the model is deceived, and evaluates; empty: none.
      truth='',
    ),
    loss=dict(
      # 'mirror_descent' (k1.5 eq. 3), 'reinforce' (tau = 0), 'rest' (fit the
      # best response only, k1.5 3.5), 'grpo' (DeepSeek-R1 eq. 1) or
      # 'token_clip' (Kimi K2.5).  What others change of them: docs/losses.md.
      method='mirror_descent',
      tau=0.1,  # NP (Kimina-Prover: 0.4)
      baseline='mean',  # 'mean', 'tau_log_z', 'leave_one_out' or 'none'
      # 'seq_sum' is the paper's sum over tokens; 'const_max_len' divides it by
      # the constant max_length, which keeps eq. 3 up to scale; 'seq_mean' and
      # 'token_mean' are what other implementations do.
      pg_norm='const_max_len', reg_norm='const_max_len',
      keep_zero_variance_groups=True,  # they still anchor to the reference
      # Of negative advantage: 'keep', 'drop', or 'discard' at Kimina's omega.
      negative_gradients='keep', negative_discard_rate=0.5,
      # A token of which n more follow has gamma^n of its response's policy
      # gradient: Kimi-Researcher's decay of rewards by step, of tokens here;
      # 1: it is off; NP.
      gamma=1.0,
      # What a response's `r1_format` has to earn, or it leaves the loss, as by
      # Kimina's format filter, whose form is that of proofs; 0: all stay.
      least_format=0.0,
      # The rollout samples from a policy a little off pi_theta_i: in another
      # precision, under older weights.  'truncate' weights policy gradients by
      # min(ratio, cap), ratio = pi_theta_i / what sampled; 'mask' leaves out
      # what is outside [1 / cap, cap].  NP; Yao et al. 2025, and IcePop.
      rollout_correction='none', rollout_correction_cap=2.0,
      rollout_correction_level='token',  # 'token', or 'sequence': of a response
      # Of a loss of supervised fine-tuning in every update, the mean over the
      # tokens of so many of the task's worked solutions: K2's PTX term, whose
      # form, weight and amount are NP.
      ptx_weight=0.0, ptx_examples=8,
      # -- method='grpo'
      grpo_clip=0.2,  # epsilon of the ratio clip (DeepSeek-R1 v2: 10)
      grpo_clip_high=0.0,  # epsilon of its upper side (DAPO: 0.28); 0: the same
      grpo_beta=0.001,  # weight of the k3 KL estimate
      # 'token', 'sequence' as DeepSeek-R1 writes it, or 'sequence_mean' (GSPO).
      grpo_ratio='token',
      grpo_divides_by_std=True,  # advantages; False: as Dr. GRPO
      grpo_reference_interval=400,  # steps until the slow reference is renewed
      # -- method='token_clip', whose tau is one of tokens: the log-ratios that
      # have a policy gradient, alpha and beta; NP.
      token_clip_low=-0.5, token_clip_high=0.5,
    ),
    length_reward=dict(
      weight=0.0,  # k1.5 2.3.3, NP; below 2 any right answer beats any wrong
      start_iteration=0,  # the penalty is off before it, constant from it on
      # Toggle of Kimi K2.5: m iterations with budgets, m without, in turns (0:
      # never).  Where a group's accuracy is lambda or more, what is longer than
      # the rho-percentile of the problem's first right lengths earns 0; NP.
      toggle_iterations=0, toggle_accuracy=0.75, toggle_percentile=50.0,
    ),
    problem_sampler=dict(
      # 'uniform', 'curriculum' or 'prioritized' (2.3.4): drawn with a chance in
      # proportion to 1 - s_i; none is above 1, and others are lifted alike.
      strategy='uniform',
      success_decay=0.5,  # weight of the old value in a success rate's average
      unseen_success_rate=0.0,  # of what has neither tries nor a difficulty
      min_weight=0.02,  # floor of 1 - s_i, so that nothing is never drawn
      # Draws without a right response until a problem is left out (Kimi-Dev:
      # 16 responses); 0: never.  Where too few remain, the oldest return.
      leave_out_after=0,
      retry_after=0,  # iterations until it is tried anew; 0: it stays out
      # Mean s_i of the problems in use from which on all those left out are
      # tried anew, as Kimi-Dev does; NP; 0: never.
      retry_at_success_rate=0.0,
      # 'domain:iteration' each: its problems are drawn from that one on.
      late_domains=(),
      # -- strategy='curriculum': uniform until the iteration, then hard only
      curriculum_iteration=24, hard_below_success_rate=0.5,  # Fig. 9; NP
    ),
    optimizer=dict(
      name='adam',  # 'adam', 'muon' or 'sgd'
      learning_rate=3e-4, warmup_updates=0,  # constant after the warm-up; NP
      beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.0,
      clip_norm=1.0,  # global gradient norm; 0 is off
      muon_adam_share=0.3,  # rate of embedding, head, norms over Muon's; NP
      muon_embeddings=False,  # embedding and head are Muon's too, against usage
      reset_every_iteration=True,  # k1.5 2.3.2
      micro_batch_rows=16,  # packed rows whose gradient is computed at once
    ),
    evaluation=dict(
      every=0,  # RL iterations between evaluations; 0: before and after only
      samples=1,  # responses per problem
      temperature=1.0, top_p=1.0,  # 0 takes the likeliest token; 1: of all
      # The last so many evaluations of RL, which a comparison of runs is made
      # of, take so many samples (0: as the others) with their pass@k, and ask
      # greedily beside them, one response per problem.
      last_evaluations=3, last_samples=0, last_greedy=False,
      # -- the stage 'evaluate': files, 'name:path' or a path, of MATH-500,
      # GSM8K, AIME, GPQA, HumanEval, MBPP, MultiPL-E, LiveCodeBench, Codeforces
      # MathVista, MMMU, MATH-Vision, Geometry3K, or your own with the fields of
      # `task`; none: the held-out problems.  No stage trains on them.
      sets=(),
      # 'set:reward' and 'set:text with {prompt}' each, instead of the format's.
      rewards=(), templates=(),
      problems=0,  # first ones of each set; 0: all
      before=False,  # the checkpoint answers them too, before all stages
      # Programs vote by what they print on so many inputs, of a generator that
      # the same model writes (k1.5 appendix C); 0: they do not; NP.
      vote_inputs=0,
      pass_at=(1,),  # the k of pass@k; those beyond `samples` are left out
      interval=0.95, resamples=10000,  # of the bootstrap over problems
    ),
  )  # fmt: skip


def _documents():
  """Keys of every stage that learns from documents, k1.5 2.5.1; rates NP."""
  return dict(
    # JSONL, JSON or Parquet of {text, domain}, perhaps with `images`; none:
    # generated, of the arithmetic family.
    files=(),
    # 'domain:weight' each, of the tokens that are learnt from, NP; none: as
    # many as there are.
    weights=(),
    # Put into rows whole, first-fit; or one behind the other, and cut by rows.
    whole_documents=False,
    steps=10000, batch_tokens=1 << 20,  # NP
    optimizer='adam', learning_rate=3e-4, end_learning_rate=3e-5,
    warmup_steps=100, log_every=25,
  )  # fmt: skip


def _supervised():
  """Keys of every stage that is supervised fine-tuning."""
  return dict(
    # Conversations, JSONL or Parquet, of `messages`, each with 'role' and
    # 'content', or of `prompt` and `response`, perhaps with `images`; none: the
    # task's solutions.
    files=(),
    # How often each file is drawn from; none: every example once an epoch.
    weights=(),
    loss_turns='all',  # of the assistant are learnt from; or the 'last' alone
    drop_too_long=False,  # what outgrows a row: left out, or the run refused
    packing='best_fit',  # in a stream; or 'first_fit', planned for an epoch
    row_tokens=0,  # of a packed row; 0: rollout.max_prompt_length + max_length
    steps=1500, epochs=0,  # passes over the examples instead; 0: `steps`
    batch_tokens=8192,  # packed tokens per step
    trains='all',  # or the 'vision' tower alone, or the 'text', all but it
    optimizer='muon',  # 'adam', 'sgd' or 'muon': hidden matrices by Muon
    learning_rate=1e-2, end_learning_rate=3e-4,  # by a cosine; NP
    warmup_steps=50, log_every=25,  # steps
  )  # fmt: skip


def _asked():
  """Keys of problems that are asked until right answers to them are kept."""
  return dict(
    samples=8,  # of a problem, until `most_per_problem` are kept; NP
    most_per_problem=2,  # NP
    temperature=1.0,  # NP
    call_size=256,  # responses between two saves
    # Who writes: the model before this stage, or an OpenAI-compatible server,
    # 'http://host:port/v1', and its model; its key is in $K15_SERVER_KEY.
    server='', server_model='',
    server_threads=16, server_seconds=600.0,  # requests at once, and each
  )  # fmt: skip


# -- 2. Other stages -----------------------------------------------------------


def _other_stages():
  falling = dict(optimizer='adam', learning_rate=1e-5, end_learning_rate=1e-6)
  return dict(
    task=dict(  # Of the generators; first, of name='arithmetic'.
      kinds=(
        'add', 'subtract', 'multiply', 'divide', 'signs', 'pay', 'remainder',
      ),
      # [0, 1], scales digits, operands and search depth
      min_difficulty=0.0, max_difficulty=1.0,
      # Warm-up: chances to give up after each failed try, to answer without
      # working it out, of a slip, noticed at once, per step, and to check a
      # division that is done.
      give_up_rate=0.35, guess_rate=0.5, slip_rate=0.03, check_rate=0.2,
      # Warm-up: 'think' closes the working in <think> tags before the summary,
      # DeepSeek-R1's output; 'answer' puts the summary in <answer> tags, too,
      # R1-Zero's.  Chances to leave the tags out, and of each line of
      # 'arithmetic' to have its words in Chinese.
      thinking='none', formless_rate=0.0, mixing_rate=0.0,
      # -- name='word_problems', and guess_rate, its chance of a bare answer
      min_steps=1, max_steps=4,  # computations of a problem, in [1, 4]
      max_distractors=2,  # sentences that do not matter: none up to so many
      # Of the held-out problems, with templates that no stage trains on; the
      # others have other numbers only.
      new_templates_share=0.25,
    ),
    facts=dict(  # Of name='facts': where does a walk lead?  All NP.
      # Of facts, misconceptions and chances: the same for all seeds of runs.
      table=0,
      places=10, roads=8,  # as many facts as their product; 12 each at most
      min_steps=3, max_steps=3,  # facts of a problem
      # That places lie in, of which the last one's is asked for, and how often
      # one wrong step leads into the right one.  0: the place is asked for.
      lands=2, luck=0.45,
      # Warm-up: least and greatest chance of a fact, easy or hard, to be stated
      # rightly; else it is its one misconception.  Shares of the facts, and of
      # the problems with hard ones, at least `hard_steps`, that are hard.
      easy_right=(0.9, 0.99), hard_right=(0.2, 0.6),
      hard_facts=1.0, hard_share=1.0, held_out_hard_share=1.0, hard_steps=1,
      # Warm-up: chances to check a statement, to notice then that it is wrong,
      # and state the fact anew, and to go round again after each round that
      # has not ended where the one before did.
      check_rate=0.0, notice_rate=0.9, again_rate=0.0,
    ),
    # What the stages 'pretrain', 'cooldown', 'long_context' share.  All NP.
    documents=dict(
      number=20000,  # generated ones, where a stage has no files
      held_out_share=0.01,  # of all texts, by their hash: no stage learns them
      held_out_tokens=1 << 18,  # of them, measured
      held_out_every=500,  # steps between two measures, needles too
    ),
    pretrain=_documents() | dict(row_tokens=4096),  # k1.5: at most 4,096 first
    # High-quality documents and verified questions and answers.
    cooldown=_documents() | dict(
      # Of the rows, those of documents with pictures, which `weights` leave
      # alone: descriptions and verified questions of name='pictures', or of
      # `files` those that have `images`; NP.
      image_share=0.0,
      row_tokens=4096, steps=2000, learning_rate=3e-5, end_learning_rate=3e-6,
    ),
    # Documents of the domain 'qa' that cooldown has beside others, by rejection
    # sampling: answers to training problems that their reward says are right.
    # Generated documents then have no questions of their own.
    cooldown_questions=_asked() | dict(
      problems=0,  # that are asked, the first ones; 0: none; NP
      # Who writes instead: a model's directory or the workdir that made it.
      model='',
    ),
    # Long-context activation.  Steps are shared evenly by the row lengths.
    long_context=_documents() | dict(
      lengths=(4096, 32768, 131072),
      rope_theta=1000000.0,  # of the model from here on
      # Of the rows, those cut from `long_files`, which attend to all of
      # themselves; in the others, of `files`, documents are apart.
      full_attention_share=0.4, long_files=(),
      image_share=0.0,  # of either kind of rows, as in `cooldown`; NP
      needles=64,  # asked for at each length, notes and pictures each; NP
      measured_lengths=(),  # more than those of `lengths`, at each measure
      steps=1500, learning_rate=3e-5, end_learning_rate=3e-6,
    ),
    # What the three stages of pretraining with pictures share, and a row each:
    # 'pretrain_text' learns texts alone, 'pretrain_tower' trains the tower in
    # isolation, 'pretrain_joint' all, and pictures become 30 % of its tokens
    # (k1.5 appendix B.4).  Without files they read and describe: NP.
    pretrain_text=_supervised() | dict(packing='first_fit', num_examples=20000),
    pretrain_tower=_supervised() | dict(
      packing='first_fit', num_examples=20000, trains='vision',
    ),
    pretrain_joint=_supervised() | dict(
      packing='first_fit', num_examples=20000,
      image_share=0.3,  # of the tokens, those of examples with pictures
      image_ramp=0.5,  # of the steps, in which it rises from 0; NP
    ),
    vision=dict(  # Of name='pictures', and of how a policy is shown them.
      # -- the tower, NP, of a policy that begins with random weights: a
      # checkpoint has its own.  An 8 x 8 patch is a token of `merge_size` 1.
      enabled=False,
      # Whose tower it is: 'qwen3_vl', 'qwen2_5_vl' or 'qwen2_vl', beside whose
      # texts policy.qkv_bias and qk_norm are those of Qwen3, or of Qwen2.
      family='qwen3_vl',
      num_layers=3, width=64, num_heads=2, d_ff=256,
      patch_size=8, merge_size=1,
      temporal_size=1,  # frames of a patch: a picture is shown so many times
      # Qwen3-VL: side of the learned table of places, and blocks behind which
      # the first layers of the policy are fed, one each.
      grid=8, deepstack=(),
      # Qwen2.5-VL: tokens of a window's side, and blocks that have none.
      window=4, full_layers=(),
      # Frequencies of time, row and column, which Qwen3-VL interleaves;
      # policy.head_dim / 2 in all.
      mrope_section=(6, 5, 5),
      # -- the problems
      # Of the held-out problems and the worked solutions, and of those that RL
      # learns from; NP.  The others are texts that pictures show, and
      # arithmetic of `task.kinds`.
      image_share=0.5, rl_image_share=0.5,
      # In turns; also 'digits', 'photographs', 'coins' of the extra `images`.
      domains=(
        'count', 'relation', 'chart', 'pattern', 'interaction', 'text', 'code',
        'table', 'stocks',
      ),
      levels=(0, 1, 2),  # of scenes, and of how badly texts are to be read
      # Warm-up: chances to answer at once, else to say first what is seen, and
      # then of a slip of the eye, noticed at once.  NP.
      at_once_rate=0.5, read_rate=1.0, misread_rate=0.03,
      # Of a picture after it is resized; 0: as the checkpoint has it.
      min_pixels=0, max_pixels=0,
      # A context is computed with the fewest of these that hold its patches;
      # a prompt whose pictures have more than the last is refused.
      patch_buckets=(16, 32, 64, 128),
      cache_bytes=64 << 20,  # of features, in every process that decodes
      # Of a packed row in training; pictures that come twice in it count once.
      row_patches=128,
    ),
    # Stage 'curate', k1.5 2.1: makes the RL prompt set of what task has.
    curation=dict(
      # Files of problems that no stage may train on, beside the held-out ones
      # and evaluation.sets; with the fields of `task`, or as benchmarks are.
      evaluation_paths=(),
      # Jaccard similarity of word pairs, NP: from where problems with the same
      # numbers and answer are one, and from where one is a variant, with other
      # numbers, of what is evaluated, and goes too (0: stays).
      duplicate_similarity=0.55, variant_similarity=0.8,
      excluded_types=('multiple choice', 'true/false', 'proof'),
      tagger='rules',  # of domain and discipline without a label; or 'model'
      samples=10,  # responses a pass rate is the mean of; 0: no pass rates
      temperature=1.0,  # of all samples; "relatively high", NP
      max_pass_rate=0.9,  # problems above it are trivial, and go; NP
      guesses=8,  # answers without reasoning; one right, and a problem goes
      # What stands between prompt and guess, where a thinking is closed before,
      # and what a guess begins with, into the form that the reward reads.
      guess_suffix='\nAnswer at once, without any reasoning.\n',
      guess_prefix='#### ', guess_max_length=16,  # tokens
      max_per_tag=0,  # problems of one domain and discipline; 0: no bound
      max_tag_share=1.0,  # of the prompt set that one tag may be, NP
      examples=3,  # of removed problems, by reason, in funnel.json and report
    ),
    # The second phase, k1.5 2.5.2: one epoch at 128k, re-warmed; the batch NP.
    sft_long=_supervised() | falling | dict(
      packing='first_fit', row_tokens=131072, epochs=1, batch_tokens=1 << 20,
    ),
    # Long-CoT warm-up, k1.5 2.2, a lightweight SFT on what `long_cot_examples`
    # makes, not on files; all NP.
    long_cot=_supervised() | falling | dict(
      packing='first_fit', epochs=2, batch_tokens=1 << 18, warmup_steps=5,
    ),
    long_cot_examples=_asked() | dict(  # Sample, verify, keep.
      # 'engineered': the problem in a prompt that asks for planning,
      # evaluation, reflection and exploration; 'plain': as RL asks it.
      prompt='engineered',
      least_processes=4,  # of the four, shown by a response that is kept
      problems=4096,  # of the RL prompt set, the first ones; NP
    ),
    # DeepSeek-R1's third stage (its 2.3.3): SFT on right responses that read
    # well, `samples` to each of the first `problems`, and on the conversations
    # of `files`, of general use.
    rejection_sft=_supervised() | falling | dict(
      packing='first_fit', epochs=2, batch_tokens=1 << 20, drop_too_long=True,
      problems=1 << 20, samples=4,  # NP
      general_share=0.25,  # of the examples are of `files`: 200k of 800k
      # From `checkpoint`, as R1 begins anew with its base; False: from the
      # model that sampled.
      from_checkpoint=False,
      # A thinking in another script, or with less than this share of its words
      # in it, mixes languages ('': any may); a longer paragraph, in characters,
      # is chaotic (0: none is).  NP.  So is a block of code, where it is.
      script='', least_script_share=0.95,
      longest_paragraph=2000, drop_code_blocks=True,
    ),
    # R1's fourth stage (its 2.3.4), `rl` again: what it has of its own.
    rl_all=dict(
      iterations=106,  # 1,700 steps of R1, 16 an iteration
      temperature=0.7,
      # 'domain:iteration' each: domains that preferences judge, by a route of
      # `reward`, and from when on; no other stage learns from them.  R1 has
      # them in its last 400 steps, from iteration 81 on: later, less is hacked.
      late_domains=(),
    ),
    # What the stages 'merge', 'shortest', 'dpo', 'short_rl' share: k1.5 2.4.
    long2short=dict(
      problems=1024,  # of the training set that are sampled, the first; NP
      samples=8,  # n responses of each (2.4)
      responses='',  # their file, for several runs; empty: of the workdir
      longer=1.5,  # times the preferred length: a right response is rejected
      # -- stage 'merge'
      short_model='',  # directory of the short-CoT model, or its workdir
      short_share=0.5,  # a in (1 - a) long + a short; the paper: a plain mean
    ),
    # SFT on the shortest correct responses, not on files.  All NP.
    shortest=_supervised() | dict(
      steps=200, optimizer='adam', learning_rate=1e-4, end_learning_rate=1e-5,
      warmup_steps=10, log_every=10,
    ),
    # Preferences; beta: strength of the pull towards the reference.  All NP.
    dpo=dict(
      batch_pairs=64, beta=0.1, steps=100, optimizer='adam', learning_rate=2e-5,
      end_learning_rate=2e-6, warmup_steps=10, log_every=10,
    ),
    # What long2short RL has instead of the keys of `rl`; all NP.
    short_rl=dict(
      # Models to begin with, the one of the best balance; none: the one before.
      candidates=(),
      token_price=0.1,  # accuracy that all tokens of the best are worth
      iterations=30,
      max_length=128,  # of a response, evaluation included; short on purpose
      length_weight=0.5,  # of the length reward, from the start
    ),
    # The two reward models of k1.5 2.3.5: what the stages 'classic_rm' and
    # 'cot_rm' learn from, and how the rewards of these names ask them.  All NP.
    reward_model=dict(
      # Rows of question, reference, response, `correct`, true or false, and,
      # for 'cot_rm', the reasoning before that; none: generated pairs of these
      # kinds.  Held out are pairs that neither learns from.
      files=(),
      kinds=('fraction', 'decimal', 'expression', 'unit', 'ordering'),
      pairs=20000, held_out=400,
      # Where each is: a model's directory or the workdir that made it; empty:
      # what the stage of this run leaves.  Or services that have it, of
      # `python -m k15.serve_reward`, 'http://host:port' each; or, of 'cot_rm',
      # an OpenAI-compatible server, 'http://host:port/v1', and its model there,
      # whose key is in $K15_SERVER_KEY.
      classic='', cot='', classic_services=(), cot_services=(),
      cot_server='', cot_server_model='', server_seconds=600.0,
      sees='answer',  # of a response; or 'response', all behind its thinking
      max_prompt_length=512, max_length=512,  # tokens of a case, of a judgement
      temperature=0.3,  # of a judgement: a second attempt has to differ
    ),
    classic_rm=dict(  # A value head on the model before; rates NP.
      batch_tokens=8192, steps=1500, optimizer='adam', learning_rate=1e-3,
      end_learning_rate=1e-4, warmup_steps=50, log_every=25,
      # Of the next token of its prompts, and of the reasoning where there is
      # some, in a loss beside the label's one bit; 0: the label alone.
      text_weight=0.0,
    ),
    cot_rm=_supervised() | dict(packing='first_fit', row_tokens=1024),
    saving=dict(
      every_iterations=10, every_sft_steps=500, keep=2,
      # What RL samples between two checkpoints is on disk as it comes, 8 bytes
      # a token; a killed run goes on from there.
      journal=True,
    ),
    # Beside metrics.jsonl, numbers go to 'tensorboard', 'wandb', 'trackio' and
    # 'mlflow', of extras of these names; a resumed run to the same run there.
    logging=dict(
      to=('tensorboard',),
      project='k15',
      name='',  # empty: the workdir's
    ),
  )  # fmt: skip


# -- 3. Machines ---------------------------------------------------------------


def _machines():
  return dict(
    mesh=dict(
      data=1, fsdp=1, tensor=1,  # -1: all devices left over by the others
      context=1,  # columns of a row, for the longest; divides their number
      # What an axis of an array means -> the axes of the mesh that split it;
      # 'meaning:' is whole everywhere; one that is not named is split as here.
      rules=(
        'batch:data+fsdp', 'slots:data+fsdp', 'embed:fsdp', 'vocab:tensor',
        'heads:tensor', 'kv_heads:tensor', 'mlp:tensor', 'head_dim:',
        'sequence:context', 'layers:', 'norm:', 'vision_heads:tensor', 'qkv:',
        'pixels:', 'places:',
      ),
      # Processes, one a host, run one command over one mesh and workdir.
      coordinator='',  # 'host:port' of the first, where nothing listens
      num_processes=1,  # -1: all that a TPU pod or Slurm has started
      process_id=0,  # of this one; -1: $K15_PROCESS_ID
    ),
    policy=dict(
      dtype='float32', param_dtype='float32',  # of activations, of weights
      # 'bfloat16': weights are rounded to it and multiplied in it, all else is
      # in float32, and rollout and training agree: see docs/devices.md; '': in
      # `dtype` like all else.
      product_dtype='',
      scan_layers=False,  # True compiles faster, runs 25 % slower on CPU
      remat='none',  # 'none', 'full', or 'dots' (keep matrix products)
      logprob_chunk=1024,  # tokens whose [tokens, V] logits exist at once
      # Of whole rows: 'plain', 'chunked', 'splash' (TPU), 'cudnn' (GPU, half
      # precision), or 'auto': what suits the platform and the row's length.
      attention='auto',
      cache_block=128,  # columns read or left out together, but on TPU
      # -- rotary positions; a checkpoint has its own
      rope_theta=10000.0,  # k1.5 2.5.1 activates long context with 1,000,000
      # For texts longer than trained on: 'llama3' or 'yarn' (arXiv 2309.00071).
      rope_scaling='none',
      rope_factor=1.0, rope_original_length=8192,  # times longer, than tokens
      # Turns within that length up to which a frequency is divided by the
      # factor and from which it is kept: by 'llama3', and by 'yarn'.
      rope_low_freq_factor=1.0, rope_high_freq_factor=4.0,
      rope_beta_slow=1.0, rope_beta_fast=32.0,
      rope_truncate=True,  # 'yarn': the ends of its ramp are whole indices
      rope_attention_factor=0.0,  # 'yarn': of q and k; 0 is 0.1 ln(factor) + 1
    ),
    # Its state waits in host memory while the devices decode, if it is kept.
    optimizer=dict(offload=False),
    rollout=dict(
      mesh=(),  # (data, fsdp, tensor) for decoding; empty: as in training
      mesh_rules=(),  # as `mesh.rules`, which hold where these say nothing
      # While sampling, evaluation included: 'float32', 'bfloat16', or '' as
      # `policy` has it; for the cache also 'int8', a scale each token and head.
      dtype='', cache_dtype='',  # of weights and activations, of the cache; NP
      # A response stops when a block of at most max_period tokens has come
      # count times in a row and covers at least min_tokens.  Count 0: off.  NP.
      repetition_count=4, repetition_max_period=32, repetition_min_tokens=48,
      # Who decodes: 'host:port' of `python -m k15.serve` with the same config,
      # and 'local', this process; none: this one alone.
      workers=(),
      # New weights and live responses: 'interrupt' (prefilled again under them;
      # k1.5 2.6.2), 'drain' (finish first), 'in_flight' (keep their cache).
      live_requests='interrupt',
      # Until a silent worker is given up, and, without any, the run.
      silence_seconds=20.0, patience_seconds=600.0,
      token_file='',  # of the workers' bearer token; or $K15_ROLLOUT_TOKEN
      tls_authority='', tls_certificate='', tls_key='',  # PEM; all or none
      # What a worker takes on at once; more is refused, and may be sent later.
      max_requests=4096, max_tokens=1 << 26, max_message_bytes=4 << 20,
    ),
    reward=dict(
      # Responses judged at once, while others are sampled; by a reward model of
      # this process in one batch.
      threads=4,
      # Reward services that run the programs, 'http://host:port' each; none: a
      # sandbox of this process.  Their token: the file, or $K15_REWARD_TOKEN.
      services=(), token_file='',
      sandbox_workers=2,  # programs run at once
      sandbox_lowest='seccomp',  # or namespaces, bwrap, rlimits: weakest walls
      program_seconds=2.0,  # wall clock of a program, per test
    ),
  )  # fmt: skip
