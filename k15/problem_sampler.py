"""Which problems to try next: Kimi k1.5, section 2.3.4.

Host side, numpy.  The sampler knows problems by their index and remembers a
success rate s_i of each.  It draws them in one of three ways:

  uniform      every problem once per epoch, in an order shuffled anew
  prioritized  with probability proportional to 1 - s_i
  curriculum   uniform at first, only hard problems later
"""

import json

import numpy as np

STRATEGIES = ('uniform', 'prioritized', 'curriculum')
HARD_DIFFICULTY = 0.5  # labels from here on are hard


class ProblemSampler:
  """Draws problems and keeps their success rates."""

  def __init__(
    self,
    num_problems,
    strategy,
    success_decay,
    unseen_success_rate,
    min_weight,
    curriculum_iteration,
    hard_below_success_rate,
    difficulty=None,
    seed=0,
  ):
    """Starts with no problem tried.

    Args:
      num_problems: size of the prompt set.
      strategy: 'uniform', 'prioritized' or 'curriculum'.
      success_decay: weight of the old value in a success rate's average.
      unseen_success_rate: s_i assumed of problems never tried.
      min_weight: floor of 1 - s_i, > 0: nothing is never drawn, and when all
        is solved all is drawn alike.
      curriculum_iteration: first iteration of hard problems only.
      hard_below_success_rate: problems with a lower s_i are hard.
      difficulty: float [num_problems] in [0, 1] or None; judges the problems
        never tried, in place of unseen_success_rate.
      seed: of the draws.

    Raises:
      ValueError: for an unknown strategy, min_weight <= 0, or a number of
        labels that is not num_problems.
    """
    if strategy not in STRATEGIES:
      raise ValueError(f'strategy {strategy!r} is not one of {STRATEGIES}')
    if min_weight <= 0:
      raise ValueError(f'min_weight must be positive, not {min_weight}')
    if difficulty is not None and len(difficulty) != num_problems:
      raise ValueError(f'{len(difficulty)} labels for {num_problems} problems')
    self._strategy = strategy
    self._success_decay = success_decay
    self._unseen_success_rate = unseen_success_rate
    self._min_weight = min_weight
    self._curriculum_iteration = curriculum_iteration
    self._hard_below_success_rate = hard_below_success_rate
    self._difficulty = None if difficulty is None else np.asarray(difficulty)
    self._rng = np.random.default_rng(seed)
    self._attempts = np.zeros(num_problems, np.int64)
    self._recorded_rate = np.zeros(num_problems, np.float64)
    self._order = self._rng.permutation(num_problems)
    self._cursor = 0  # problems of this epoch's order already drawn

  @property
  def num_problems(self):
    return len(self._attempts)

  @property
  def success_rates(self):
    """float64 [num_problems], s_i, assumed where never tried."""
    is_seen = self._attempts > 0
    return np.where(is_seen, self._recorded_rate, self._unseen_success_rate)

  @property
  def is_hard(self):
    """bool [num_problems], by success rate or, never tried, by label."""
    is_hard = self.success_rates < self._hard_below_success_rate
    if self._difficulty is None:
      return is_hard
    is_labelled_hard = self._difficulty >= HARD_DIFFICULTY
    return np.where(self._attempts > 0, is_hard, is_labelled_hard)

  def draw(self, n, iteration):
    """Draws n different problems.

    Args:
      n: how many, at most num_problems.
      iteration: the current one; it decides the curriculum's phase.

    Returns:
      int64 [n], indices of problems.

    Raises:
      ValueError: if there are not n problems.
    """
    if n > self.num_problems:
      raise ValueError(f'cannot draw {n} of {self.num_problems} problems')
    if self._strategy == 'prioritized':
      weights = np.maximum(self._min_weight, 1 - self.success_rates)
      p = weights / weights.sum()
      return self._rng.choice(self.num_problems, n, replace=False, p=p)
    is_late = iteration >= self._curriculum_iteration
    if self._strategy == 'curriculum' and is_late:
      # Hard ones first, so that too few, or none, are made up for by others.
      shuffled = self._rng.permutation(self.num_problems)
      return shuffled[np.argsort(~self.is_hard[shuffled], kind='stable')][:n]
    return self._draw_from_epoch(n)

  def _draw_from_epoch(self, n):
    """Goes through shuffled epochs; a draw across two repeats nothing."""
    drawn = self._order[self._cursor : self._cursor + n]
    self._cursor += len(drawn)
    missing = n - len(drawn)
    if missing:
      shuffled = self._rng.permutation(self.num_problems)
      just_drawn = np.isin(shuffled, drawn)
      self._order = shuffled[np.argsort(just_drawn, kind='stable')]
      self._cursor = missing
    return np.concatenate([drawn, self._order[:missing]])

  def record(self, indices, mean_rewards):
    """Averages new results into the success rates; a first one sets it.

    s_i <- success_decay * s_i + (1 - success_decay) * mean reward.

    Args:
      indices: int [n], problems; one that comes twice is averaged twice.
      mean_rewards: float [n], mean raw reward of each one's group, in [0, 1].

    Raises:
      ValueError: for lengths that differ or a mean outside [0, 1].
    """
    for i, mean_reward in zip(indices, mean_rewards, strict=True):
      if not 0 <= mean_reward <= 1:
        raise ValueError(f'problem {i}: success rate {mean_reward}, not [0, 1]')
      decay = self._success_decay if self._attempts[i] else 0.0
      old = self._recorded_rate[i]
      self._recorded_rate[i] = decay * old + (1 - decay) * mean_reward
      self._attempts[i] += 1

  def metrics(self):
    """Returns the state of the prompt set as a dict of floats."""
    rates = self.success_rates
    return {
      'problem_sampler/seen_fraction': float(np.mean(self._attempts > 0)),
      'problem_sampler/success_rate': float(rates.mean()),
      'problem_sampler/solved_fraction': float(np.mean(rates >= 1)),
      'problem_sampler/hard_fraction': float(self.is_hard.mean()),
    }

  def get_state(self):
    """Returns all that draws depend on, as a dict of numpy arrays."""
    rng_state = json.dumps(self._rng.bit_generator.state).encode()
    return {
      'attempts': self._attempts.copy(),
      'recorded_rate': self._recorded_rate.copy(),
      'order': self._order.copy(),
      'cursor': np.array(self._cursor, np.int64),
      'rng': np.frombuffer(rng_state, np.uint8).copy(),
    }

  def set_state(self, state):
    """Continues from `get_state`, bit for bit.

    Raises:
      ValueError: if the state is of another number of problems.
    """
    num_problems = len(state['attempts'])
    if num_problems != self.num_problems:
      raise ValueError(
        f'state of {num_problems} problems, not {self.num_problems}'
      )
    self._attempts = np.array(state['attempts'])
    self._recorded_rate = np.array(state['recorded_rate'])
    self._order = np.array(state['order'])
    self._cursor = int(state['cursor'])
    rng_state = np.asarray(state['rng'], np.uint8).tobytes()
    self._rng.bit_generator.state = json.loads(rng_state)
