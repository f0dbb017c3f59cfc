"""Why the claims came out as they did, in the eyes of the authors.

Written after the runs were seen; what was claimed, and how it is judged, is in
`claims.py` and was written before.
"""

WHY = {
  'context_length': (
    'Whoever has room for a single try only gains as much by guessing as by'
    ' work; the ceiling of the longest is how surely so small a policy works'
  ),
  'negative_gradients': (
    'Nearly every group of eight has a right response, which shows the habits'
    ' that pay; what is left to learn is to work surely, which imitation'
    ' teaches and the push away from wrong responses disturbs'
  ),
  'curriculum': (
    'Hard problems are those in which single steps go wrong; groups with few'
    ' right responses say little about that, so nothing is gained by them'
  ),
  'partial_rollouts': (
    'A response that was cut is learnt from an iteration later, which holds the'
    ' first ten iterations back; over seconds both curves are one'
  ),
  'grpo': (
    'With four small updates an iteration the policy stays so near to its'
    ' reference that both gradients are nearly that of REINFORCE'
  ),
  'tau': (
    'Four small updates leave the reference by 0.2 nats with any tau; the'
    ' strongest only slows the rise'
  ),
  'length_penalty': (
    'Checks of divisions that were right already go; tokens fall by a fifth,'
    ' and from the start the penalty does slow the early phase down'
  ),
  'prioritized': (
    'What stays unsolved is what the policy cannot work out yet, and to try it'
    ' more often does not change that'
  ),
  'long2short': (
    'Every way shortens, RL most, and pays with accuracy; to imitate the'
    ' shortest right responses also teaches to work surely, as ReST does'
  ),
  'model_size': (
    'Before RL both imitate the same habits, which decide the accuracy, and two'
    ' layers work nearly as surely as four: too little between them'
  ),
  'baseline': (
    'tau log Z of eight rewards in {0, 1} with tau 0.1 is nearly the best of'
    ' them, so that right responses are hardly pulled up'
  ),
  'optimizer_reset': (
    'Kept moments were given 4e-4, which tied with 2e-4 on the seed for tuning;'
    ' with 2e-4 they end 0.009 ± 0.038 above the reset ones, so the difference'
    ' is that of the rates'
  ),
  'loss_segments': (
    "The figure is of 'last' as what the current iteration had sampled: a"
    ' response that ended before its group was in no loss, so what stayed was'
    " mostly long and wrong ones; now it is each response's own last segment."
    ' Where one was resumed, its first tokens, which hold the choice to guess'
    ' or to work, are never learnt from'
  ),
}
