"""What all tests share: how hypothesis looks for examples."""

from hypothesis import settings

# Examples are never timed: a machine may be busy. `make test` takes the same ones every time, so that it fails for what has
# changed and not by chance; `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("search", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")
