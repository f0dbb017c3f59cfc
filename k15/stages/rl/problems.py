"""What a phase of RL draws its problems with."""

from k15.config import routes
from k15.equations import problem_sampler
from k15.runtime.context import Context


def make_sampler(context: Context, name: str) -> problem_sampler.ProblemSampler:
  """The sampler of the training problems, before its first draw.

  Args:
    context: of the run.
    name: of the stage, for its random stream.
  """
  train, seed = context.task.train, context.config.seed
  keys = context.config.problem_sampler.to_dict()
  starts = routes.starts_of(keys.pop('late_domains'))
  return problem_sampler.ProblemSampler(
    len(train),
    **keys,
    difficulty=[problem.difficulty for problem in train],
    starts=[starts.get(problem.domain, 0) for problem in train],
    seed=seed,
    stage=name,
  )
