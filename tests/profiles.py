"""How property tests draw examples: the same ones every time, or new and many (`make fuzz`)."""

from __future__ import annotations

import os

from hypothesis import settings

FUZZ = os.environ.get("LONGTAIL_FUZZ") == "1"
_MORE = 10

settings.register_profile("test", derandomize=True, database=None, deadline=None)
settings.register_profile("fuzz", max_examples=100 * _MORE, deadline=None, print_blob=True)


def load() -> None:
    """Take the profile that the environment asks for."""
    settings.load_profile("fuzz" if FUZZ else "test")


def examples(n: int) -> int:
    """Examples of a test of which n are enough, or more of them where chance explores."""
    return n * _MORE if FUZZ else n
