"""Deep generative models of sparse, long-tailed counts.

Public names are loaded when first used, so that importing the package is quick and reading data
does not load PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longtail.data import CountMatrix as CountMatrix
    from longtail.data import ReadSettings as ReadSettings
    from longtail.data import Vocabulary as Vocabulary
    from longtail.data import drop_duplicates as drop_duplicates
    from longtail.data import read_counts as read_counts
    from longtail.data import read_like as read_like
    from longtail.data import split_rows as split_rows
    from longtail.displays import save_plot as save_plot
    from longtail.estimator import NonlinearFactorAnalysis as NonlinearFactorAnalysis
    from longtail.estimator import Posterior as Posterior
    from longtail.estimator import load as load
    from longtail.evaluation import Evaluation as Evaluation
    from longtail.training import Callback as Callback
    from longtail.training import History as History

_HOMES = {
    "Callback": "longtail.training",
    "CountMatrix": "longtail.data",
    "Evaluation": "longtail.evaluation",
    "History": "longtail.training",
    "NonlinearFactorAnalysis": "longtail.estimator",
    "Posterior": "longtail.estimator",
    "ReadSettings": "longtail.data",
    "Vocabulary": "longtail.data",
    "drop_duplicates": "longtail.data",
    "load": "longtail.estimator",
    "read_counts": "longtail.data",
    "read_like": "longtail.data",
    "save_plot": "longtail.displays",
    "split_rows": "longtail.data",
}

__version__ = _version("longtail")
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'longtail' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
