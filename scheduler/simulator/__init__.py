"""A learner in arrays: what a policy would do to a model, in seconds and without one."""
