"""What every likelihood must satisfy, written once.

A new likelihood subclasses `LikelihoodConformance`, names itself and gives a dense reference; see
`tests/model/test_likelihoods.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest
import torch

from longtail.model import Likelihood, get_likelihood
from longtail.ops import data_term
from tests.builders import sparse


class LikelihoodConformance(ABC):
    """Subclass, fill in the members without a body, and pytest does the rest."""

    #: Its name in `get_likelihood`.
    name: str

    @abstractmethod
    def reference(self, logits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Compute log p(x | a) densely: (B, V), (B, V) → (B,)."""

    #: Counts (B, V) that it can score, with an empty row.
    counts = np.array([[2, 0, 1, 0, 4], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 9, 0]])

    @pytest.fixture
    def likelihood(self) -> Likelihood:
        return get_likelihood(self.name)

    @pytest.fixture
    def parts(self):
        """h (B, H), W (V, H) and b (V,) in float64."""
        b, v = self.counts.shape
        shapes = [(b, 3), (v, 3), (v,)]
        return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def dense_log_prob(self, h, weight, bias):
        return self.reference(h @ weight.T + bias, torch.tensor(self.counts, dtype=torch.float64))

    def test_log_prob(self, likelihood, parts):
        x = sparse(self.counts)
        torch.testing.assert_close(likelihood.log_prob(*parts, x), self.dense_log_prob(*parts))

    def test_gradients(self, likelihood, parts):
        x = sparse(self.counts)
        weights = torch.randn(len(self.counts), dtype=torch.float64)
        found = torch.autograd.grad(likelihood.log_prob(*parts, x), parts, weights)
        expected = torch.autograd.grad(self.dense_log_prob(*parts), parts, weights)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
        assert torch.autograd.gradcheck(lambda *p: likelihood.log_prob(*p, x), parts)

    def test_a_held_data_term(self, likelihood, parts):
        x = sparse(self.counts)
        term = data_term(x, *parts[1:])
        torch.testing.assert_close(
            likelihood.log_prob(*parts, x, term), likelihood.log_prob(*parts, x)
        )

    def test_curvature(self, likelihood, parts):
        h, weight, bias = (p.detach() for p in parts)
        x = torch.tensor(self.counts, dtype=torch.float64)
        for z, counts in zip(h, x, strict=True):
            expected = torch.autograd.functional.hessian(
                lambda z, x=counts: -self.reference((weight @ z + bias)[None], x[None])[0], z
            )
            found = likelihood.curvature(weight, weight @ z + bias, counts.sum())
            torch.testing.assert_close(found, expected)

    def test_curvature_of_repeated_features(self, likelihood, parts):
        h, weight, bias = (p.detach() for p in parts)
        times = torch.tensor([1, 3, 1, 2, 1])
        twice = weight.repeat_interleave(times, 0)
        logits = (weight @ h[0] + bias).repeat_interleave(times)
        torch.testing.assert_close(
            likelihood.curvature(weight, weight @ h[0] + bias + times.log(), torch.tensor(7.0)),
            likelihood.curvature(twice, logits, torch.tensor(7.0)),
        )

    def test_float32(self, likelihood, parts):
        narrow = [p.detach().float() for p in parts]
        found = likelihood.log_prob(*narrow, sparse(self.counts, torch.float32))
        assert found.dtype == torch.float32
        torch.testing.assert_close(
            found.double(), self.dense_log_prob(*parts).detach(), rtol=1e-5, atol=1e-5
        )

    def test_probabilities_are_the_normalised_mean(self, likelihood):
        logits = torch.randn(3, 5, dtype=torch.float64) * 3
        p = likelihood.probabilities(logits)
        torch.testing.assert_close(p.sum(1), torch.ones(3, dtype=torch.float64))
        torch.testing.assert_close(likelihood.log_probabilities(logits), p.log())
        mean = likelihood.mean(logits, torch.tensor([1.0, 7.0, 100.0], dtype=torch.float64))
        torch.testing.assert_close(mean / mean.sum(1, keepdim=True), p)
        assert (likelihood.mean(logits, torch.zeros(3, dtype=torch.float64)) == 0).all()

    def test_mean_agrees_with_samples(self, likelihood):
        n = 4000
        logits = torch.tensor([[1.0, 0.0, -1.0, 2.0, -3.0]])
        totals = torch.tensor([6.0])
        draws = likelihood.sample(
            logits.expand(n, -1), totals.expand(n), torch.Generator().manual_seed(0)
        )
        assert draws.shape == (n, 5)
        assert (draws == draws.round()).all()
        assert (draws >= 0).all()
        standard_error = draws.std(0) / n**0.5
        error = (draws.mean(0) - likelihood.mean(logits, totals)[0]).abs()
        assert (error < 4 * standard_error).all()

    def test_samples_come_from_the_generator(self, likelihood):
        logits, totals = torch.zeros(3, 4), torch.tensor([0.0, 1.0, 50.0])

        def draw(seed):
            return likelihood.sample(logits, totals, torch.Generator().manual_seed(seed))

        assert torch.equal(draw(1), draw(1))
        assert not torch.equal(draw(1), draw(2))
        assert (draw(1)[0] == 0).all()

    def test_floor_is_the_model_that_ignores_z(self, likelihood):
        unigram = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05], dtype=torch.float64)
        x = sparse(self.counts)
        h = torch.randn(len(self.counts), 3, dtype=torch.float64)
        flat = torch.zeros(5, 3, dtype=torch.float64)
        torch.testing.assert_close(
            likelihood.floor(unigram, x), likelihood.log_prob(h, flat, unigram.log(), x)
        )
