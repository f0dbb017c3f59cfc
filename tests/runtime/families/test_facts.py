"""The facts of a config: one table, sides apart, wrong chains imitated."""

import collections

import pytest

from experiments import facts as experiment
from k15.data.facts import chains
from k15.data.facts import table as table_lib
from k15.data.facts import walks
from k15.runtime import context
from k15.runtime import task as task_lib
from k15.runtime.families import facts
from k15.runtime.families import makers
from k15.vision import references


def config_of(variant='', **changes):
  config = experiment.get_config(variant)
  config.task.update(train_problems=100, held_out_problems=40)
  config.sft.num_examples = 200
  config.facts.update(changes)
  return config


def make(config):
  return makers.MAKERS['facts'](config, references.forget)


def test_parts_are_easy_and_hard_problems():
  config = config_of('curriculum')
  task = task_lib.build(config, context.make_tokenizer(config))
  assert (len(task.train), len(task.held_out)) == (100, 40)
  assert collections.Counter(task.parts.values()) == dict(easy=20, hard=20)
  domains = collections.Counter(problem.domain for problem in task.train)
  assert abs(domains['hard'] - 20) <= 2
  assert len(task.examples) == 200


def test_seeds_share_the_table_and_nothing_else():
  one, other = config_of(), config_of()
  other.seed = 1
  assert make(one) == make(one)
  first, second = facts.table_of(one), facts.table_of(other)
  assert (first.misconceptions == second.misconceptions).all()
  for mine, others in zip(make(one), make(other), strict=True):
    assert mine != others
  assert (
    facts.table_of(config_of(table=1)).misconceptions != first.misconceptions
  ).any()


def test_sides_are_apart_and_the_warm_up_is_of_training():
  train, held_out, examples = make(config_of())
  asked = [*train, *(example.problem for example in examples)]
  assert not {p.prompt for p in asked} & {p.prompt for p in held_out}
  assert all(walks.is_held_out(walks.walk_of(p.prompt)) for p in held_out)


def test_the_warm_up_has_wrong_chains_of_its_own_beliefs():
  config = config_of()
  table = facts.table_of(config)
  _, _, examples = make(config)
  read = [chains.read(example.response) for example in examples]
  assert all(
    chains.is_of(chain, walks.walk_of(example.problem.prompt))
    for chain, example in zip(read, examples, strict=True)
  )
  wrong = sum(chains.holds_wrong(table, chain) for chain in read)
  assert 150 < wrong < 200  # q of 0.4 three times: 187
  right = sum(
    chain.answer == example.problem.answer
    for chain, example in zip(read, examples, strict=True)
  )
  assert 70 < right < 140  # 0.53 of them


@pytest.mark.parametrize('variant', ['', 'curriculum', 'search'])
def test_texts_are_words_of_one_token(variant):
  config = config_of(variant)
  tokenizer = context.make_tokenizer(config)
  _, held_out, examples = make(config)
  longest = 0
  for example in examples:
    text = example.problem.prompt
    # from, place, :, roads, question
    assert len(tokenizer.encode(text)) == text.count(' ') + 2
    tokens = tokenizer.encode(example.response)
    rounds = example.response.count('\n')
    # A round after the first begins with a line break, a byte.
    words = example.response.replace('\n#### ', ' #### ').split()
    assert len(tokens) == len(words) + rounds - 1
    longest = max(longest, len(tokens))
  assert longest < config.rollout.max_length
  prompts = [len(tokenizer.encode(p.prompt + '\n')) for p in held_out]
  assert max(prompts) <= config.rollout.max_prompt_length


def test_the_experiment_has_the_words_that_there_are():
  names = (*table_lib.PLACES, *table_lib.ROADS, *table_lib.LANDS)
  words = {word.strip(' ,?\n#') for word in experiment.WORDS}
  assert words - {':', ''} == {
    *names, 'from', 'land', 'place', *(w.strip() for w in chains.WORDS)
  } - {'####'}  # fmt: skip


def test_evaluations_say_what_right_answers_rest_on():
  config = config_of()
  _, held_out, _ = make(config)
  table, asked = facts.table_of(config), held_out[0]
  assert facts.table_of(config) is table
  places = walks.places_of(table, walks.walk_of(asked.prompt))
  roads = walks.walk_of(asked.prompt).roads
  steps = ' '.join(
    f'{table_lib.ROADS[road]} {table_lib.PLACES[place]}'
    for road, place in zip(roads, places[1:], strict=True)
  )
  response = f'go {table_lib.PLACES[places[0]]} {steps}\n#### {asked.answer}'
  record = dict(prompt=asked.prompt, response=response, accuracy=1.0)
  assert makers.beliefs_of(config, [record]) == dict(
    chains=1.0, right_chains=1.0, misconception_given_right=0.0
  )
  config.task.name = 'arithmetic'
  assert makers.beliefs_of(config, [record]) == {}
