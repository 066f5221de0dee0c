"""The estimator: scikit-learn's contract over model, inference, training and evaluation."""

from longtail.estimator.nfa import NonlinearFactorAnalysis, Posterior
from longtail.estimator.recommendations import Recommendations
from longtail.estimator.saved import load

__all__ = ["NonlinearFactorAnalysis", "Posterior", "Recommendations", "load"]
