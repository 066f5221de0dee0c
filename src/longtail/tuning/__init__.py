"""The search for settings that suit the data."""

from longtail.tuning.results import Tuning
from longtail.tuning.search import tune
from longtail.tuning.spaces import METRICS, SPACES, Choice, Dimension, Range

__all__ = ["METRICS", "SPACES", "Choice", "Dimension", "Range", "Tuning", "tune"]
