"""Words that the config checks and other pages act on, each written here once.

Nothing is imported: configs are read, and reports written, without jax.
"""

# What new weights may do to responses in slots: see `Scheduler.set_params`.
LIVE_REQUESTS = ('interrupt', 'drain', 'in_flight')
# Questions that can be left out of a prompt set: see `question_types`.
QUESTION_TYPES = ('multiple choice', 'true/false', 'proof')
