"""Going on with a fitted model: new rows, new features, and what they changed."""

from longtail.estimator.updating.report import BoundChange, Drift, IdfChange, UpdateReport
from longtail.estimator.updating.settings import UpdateSettings
from longtail.estimator.updating.update import continue_fit, running_counts

__all__ = [
    "BoundChange",
    "Drift",
    "IdfChange",
    "UpdateReport",
    "UpdateSettings",
    "continue_fit",
    "running_counts",
]
