"""Which problems to try next: Kimi k1.5, section 2.3.4.

Host side, numpy.  The sampler knows problems by their index and remembers a
success rate s_i of each.  It draws them in one of three ways:

  uniform      every problem once per epoch, in an order shuffled anew
  prioritized  with probability proportional to 1 - s_i
  curriculum   uniform at first, only hard problems later

Problems that were never solved may be left out for a while, as Kimi-Dev (arXiv
2509.23045) does: it drops those with pass@16 = 0 and takes them in again once
the success rate has passed a threshold.
"""

import json

import numpy as np

from k15 import streams

STRATEGIES = ('uniform', 'prioritized', 'curriculum')
HARD_DIFFICULTY = 0.5  # labels from here on are hard


class ProblemSampler:
  """Draws problems and keeps their success rates, and budgets of tokens."""

  def __init__(
    self,
    num_problems,
    strategy,
    success_decay,
    unseen_success_rate,
    min_weight,
    curriculum_iteration,
    hard_below_success_rate,
    leave_out_after=0,
    retry_after=0,
    retry_at_success_rate=0.0,
    difficulty=None,
    starts=None,
    seed=0,
    stage='rl',
  ):
    """Starts with no problem tried.

    Args:
      strategy: 'uniform', 'prioritized' or 'curriculum'.
      success_decay: weight of the old value in a success rate's average.
      unseen_success_rate: s_i assumed of problems never tried.
      min_weight: floor of 1 - s_i, > 0: nothing is never drawn, and when all
        is solved all is drawn alike.
      curriculum_iteration: first iteration of hard problems only.
      hard_below_success_rate: problems with a lower s_i are hard.
      leave_out_after: draws of a problem that was never solved until it is
        left out; 0: none ever is.
      retry_after: iterations until it is drawn again; 0: it stays out.
      retry_at_success_rate: the mean s_i of the problems in use and tried from
        which on all that are left out are drawn again; 0: no such rule.
      difficulty: [num_problems] of labels in [0, 1], None or NaN where there
        is none; or None.  A label judges whether a problem never tried is
        hard, in place of unseen_success_rate.
      starts: [num_problems], the first iteration in which each is drawn; or
        None: all are from the first.
      seed, stage: of the draws; see `streams`.

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
    self._leave_out_after = leave_out_after
    self._retry_after = retry_after
    self._retry_at_success_rate = retry_at_success_rate
    # None becomes NaN, which is no label.
    labels = [None] * num_problems if difficulty is None else difficulty
    self._difficulty = np.array(labels, np.float64)
    self._starts = np.array([0] * num_problems if starts is None else starts)
    self._is_waiting = self._starts > 0
    self._rng = streams.rng(seed, 'problem sampler', stage)
    self._attempts = np.zeros(num_problems, np.int64)
    self._recorded_rate = np.zeros(num_problems, np.float64)
    # Draws without one right response, since the first or since a retry; -1
    # once there was one.  The iteration a problem was left out in, or -1.
    self._failures = np.zeros(num_problems, np.int64)
    self._left_out_at = np.full(num_problems, -1, np.int64)
    self._token_budgets = np.full(num_problems, np.nan)
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
    """bool [num_problems], by success rate or, never tried, by label if any."""
    is_hard = self.success_rates < self._hard_below_success_rate
    goes_by_label = (self._attempts == 0) & ~np.isnan(self._difficulty)
    return np.where(goes_by_label, self._difficulty >= HARD_DIFFICULTY, is_hard)

  @property
  def is_left_out(self):
    """bool [num_problems], not drawn for the time being.

    Those that were never solved, and those whose time is to come.
    """
    return self._is_waiting | (self._left_out_at >= 0)

  def draw(self, n, iteration):
    """Draws n different problems.

    Problems that are left out come back where fewer than n would remain, those
    that were left out first before the others.

    Args:
      n: how many, at most num_problems.
      iteration: the current one; it decides the curriculum's phase and what is
        left out.

    Returns:
      int64 [n], indices of problems.

    Raises:
      ValueError: if there are not n problems that have started.
    """
    self._start(iteration)
    started = self.num_problems - np.count_nonzero(self._is_waiting)
    if n > started:
      raise ValueError(f'cannot draw {n} of {started} problems')
    self._leave_out(n, iteration)
    if self._strategy == 'prioritized':
      return self._draw_by_weight(n)
    is_late = iteration >= self._curriculum_iteration
    if self._strategy == 'curriculum' and is_late:
      # Hard ones first, so that too few, or none, are made up for by others.
      shuffled = self._rng.permutation(np.flatnonzero(~self.is_left_out))
      return shuffled[np.argsort(~self.is_hard[shuffled], kind='stable')][:n]
    return self._draw_from_epoch(n)

  def _start(self, iteration):
    """Lets problems in whose iteration has come, and begins an epoch then."""
    is_waiting = self._starts > iteration
    if (self._is_waiting & ~is_waiting).any():
      # This epoch has passed some of them already.
      self._cursor = self.num_problems
    self._is_waiting = is_waiting

  def _leave_out(self, n, iteration):
    """Lets problems go that were never solved, and takes others in again."""
    if self._retry_after:
      is_due = iteration - self._left_out_at >= self._retry_after
      self._take_in(self.is_left_out & is_due)
    in_use = ~self.is_left_out & (self._attempts > 0)
    if self._retry_at_success_rate and in_use.any():
      rate = self._recorded_rate[in_use].mean()
      self._take_in(self.is_left_out & (rate >= self._retry_at_success_rate))
    if self._leave_out_after:
      is_hopeless = self._failures >= self._leave_out_after
      self._left_out_at[is_hopeless & ~self.is_left_out] = iteration
    missing = n - np.count_nonzero(~self.is_left_out)
    if missing > 0:
      out = np.flatnonzero(self.is_left_out & ~self._is_waiting)
      oldest = np.argsort(self._left_out_at[out], kind='stable')
      self._take_in(out[oldest[:missing]])

  def _take_in(self, chosen):
    """Problems that are left out, by index or mask, begin again."""
    self._left_out_at[chosen] = -1
    self._failures[chosen] = 0

  def _draw_by_weight(self, n):
    """Systematic sampling in a random order, of `inclusion_probabilities`."""
    candidates = np.flatnonzero(~self.is_left_out)
    rates = self.success_rates[candidates]
    p = inclusion_probabilities(np.maximum(self._min_weight, 1 - rates), n)
    order = self._rng.permutation(len(candidates))
    # Certain ones first: what is left has p < 1, and n points at distances of 1
    # on the line of their lengths hit n different ones.
    certain, others = order[p[order] == 1], order[p[order] < 1]
    points = self._rng.random() + np.arange(n - len(certain))
    ends = np.cumsum(p[others])
    hit = np.searchsorted(ends, points, side='right')
    # The last end is a whole number but for rounding.
    drawn = others[np.minimum(hit, len(others) - 1)]
    return self._rng.permutation(candidates[np.concatenate([certain, drawn])])

  def _draw_from_epoch(self, n):
    """Goes through shuffled epochs; a draw across two repeats nothing."""
    drawn = self._next_of_epoch(n)
    missing = n - len(drawn)
    if missing:
      shuffled = self._rng.permutation(self.num_problems)
      just_drawn = np.isin(shuffled, drawn)
      self._order = shuffled[np.argsort(just_drawn, kind='stable')]
      self._cursor = 0
      drawn = np.concatenate([drawn, self._next_of_epoch(missing)])
    return drawn

  def _next_of_epoch(self, n):
    """At most n of this epoch's order, past those that are left out."""
    rest = self._order[self._cursor :]
    places = np.flatnonzero(~self.is_left_out[rest])[:n]
    self._cursor += int(places[-1]) + 1 if len(places) else 0
    return rest[places]

  def record(self, indices, accuracies):
    """Averages new results into the success rates; a first one sets it.

    s_i <- success_decay * s_i + (1 - success_decay) * accuracy.  An accuracy of
    0 is a draw without success.

    Args:
      indices: int [n], problems; one that comes twice is averaged twice.
      accuracies: float [n], the mean of each one's group, in [0, 1].

    Raises:
      ValueError: for lengths that differ or an accuracy outside [0, 1].
    """
    for i, accuracy in zip(indices, accuracies, strict=True):
      if not 0 <= accuracy <= 1:
        raise ValueError(f'problem {i}: success rate {accuracy}, not [0, 1]')
      decay = self._success_decay if self._attempts[i] else 0.0
      old = self._recorded_rate[i]
      self._recorded_rate[i] = decay * old + (1 - decay) * accuracy
      self._attempts[i] += 1
      if accuracy > 0:  # Of an earlier draw, if it is left out: it returns.
        self._failures[i] = self._left_out_at[i] = -1
      elif self._failures[i] >= 0:
        self._failures[i] += 1

  def fix_budgets(self, indices, budgets):
    """Gives budgets, in tokens, to problems that have none yet, for good.

    Args:
      indices: int [n], problems.
      budgets: float [n], NaN where there is none.
    """
    for i, budget in zip(indices, budgets, strict=True):
      if np.isnan(self._token_budgets[i]):
        self._token_budgets[i] = budget

  def budgets(self, indices):
    """float64 [n], of problems by index; NaN where none is fixed yet."""
    return self._token_budgets[np.asarray(indices, np.int64)]

  def metrics(self):
    """Returns the state of the prompt set as a dict of floats."""
    rates, is_seen = self.success_rates, self._attempts > 0
    return {
      'problem_sampler/seen_fraction': float(np.mean(is_seen)),
      # Of those that were tried; draws whose group is complete.
      'problem_sampler/visits': float(
        self._attempts.sum() / max(is_seen.sum(), 1)
      ),
      'problem_sampler/success_rate': float(rates.mean()),
      'problem_sampler/solved_fraction': float(np.mean(rates >= 1)),
      'problem_sampler/hard_fraction': float(self.is_hard.mean()),
      'problem_sampler/left_out': float(self.is_left_out.sum()),
    }

  def get_state(self):
    """Returns all that draws depend on, as a dict of numpy arrays."""
    rng_state = json.dumps(self._rng.bit_generator.state).encode()
    return {
      'attempts': self._attempts.copy(),
      'recorded_rate': self._recorded_rate.copy(),
      'failures': self._failures.copy(),
      'left_out_at': self._left_out_at.copy(),
      'is_waiting': self._is_waiting.copy(),
      'token_budgets': self._token_budgets.copy(),
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
    # Checkpoints of before problems were left out do not have these: what was
    # solved lately was solved, and all else begins to be counted.
    solved = np.where(self._recorded_rate > 0, -1, 0)
    self._failures = np.array(state.get('failures', solved))
    out = state.get('left_out_at', np.full(num_problems, -1, np.int64))
    self._left_out_at = np.array(out)
    self._is_waiting = np.array(state.get('is_waiting', self._starts > 0))
    unfixed = np.full(num_problems, np.nan)
    self._token_budgets = np.array(state.get('token_budgets', unfixed))
    self._order = np.array(state['order'])
    self._cursor = int(state['cursor'])
    rng_state = np.asarray(state['rng'], np.uint8).tobytes()
    self._rng.bit_generator.state = json.loads(rng_state)


def inclusion_probabilities(weights, n):
  """Chances of N problems to be among the n that are drawn: n w_i / sum(w).

  A problem is drawn once at most, so a chance ends at 1: where weights ask for
  more, the problem is certain, and what is left goes to the others in
  proportion to their weights.  Up to there the chances are exact, for any
  share n / N; none reaches 1 if the largest weight is at most sum(w) / n.

  Args:
    weights: float [N], above 0.
    n: how many are drawn, at most N.

  Returns:
    float64 [N], n in sum.
  """
  weights = np.asarray(weights, np.float64)
  is_certain = np.zeros(len(weights), bool)
  while True:
    left = n - np.count_nonzero(is_certain)
    if not left:
      return is_certain.astype(np.float64)
    p = left * weights / weights[~is_certain].sum()
    # Rounding must not leave a chance of nearly 1 beside a certain one.
    found = ~is_certain & (p >= 1 - 1e-9)
    if not found.any():
      return np.where(is_certain, 1.0, p)
    is_certain |= found
