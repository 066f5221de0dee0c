"""Rows that need not fit in memory, scored block by block, here or on a Ray cluster."""

from longtail.scoring.local import LocalEngine
from longtail.scoring.on_ray import RayEngine
from longtail.scoring.run import Scoring, score_dataset
from longtail.scoring.tasks import Evaluate, Recommend, Transform
from longtail.scoring.watch import Skipped

__all__ = [
    "Evaluate",
    "LocalEngine",
    "RayEngine",
    "Recommend",
    "Scoring",
    "Skipped",
    "Transform",
    "score_dataset",
]
