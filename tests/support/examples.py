"""How many examples a slow property is tried with."""

from hypothesis import settings

REPEATED_EXAMPLES_RATIO = 0.4  # of those of `make test-all`: the same examples each time find less than new ones


def examples(most: int) -> int:
    """Return how many examples this run tries: `most` if they are new ones, as in `make test-all`."""
    repeated = settings.default is not None and settings.default.derandomize
    return round(most * REPEATED_EXAMPLES_RATIO) if repeated else most
