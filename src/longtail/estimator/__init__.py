"""The estimator: scikit-learn's contract over model, inference, training and evaluation."""

from longtail.estimator.nfa import NonlinearFactorAnalysis, Posterior
from longtail.estimator.recommendations import Recommendations
from longtail.estimator.saved import load
from longtail.estimator.updating import UpdateReport

__all__ = ["NonlinearFactorAnalysis", "Posterior", "Recommendations", "UpdateReport", "load"]
