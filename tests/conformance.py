"""What every likelihood must satisfy, written once.

A new likelihood subclasses `LikelihoodConformance`, names itself and gives a dense reference; see
`tests/model/test_likelihoods.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from longtail.introspection.closed_form import average_jacobian, feature_rows, jacobian_at
from longtail.model import Decoder, Likelihood, get_likelihood
from longtail.model.likelihoods import JacobianKind
from longtail.ops import FeatureSample, SparseRows


class LikelihoodConformance(ABC):
    """Subclass, fill in the members without a body, and pytest does the rest."""

    #: Its name in `get_likelihood`.
    name: str
    #: Whether an empty row says nothing.
    empty_is_silent = True
    #: Counts (B, V) that it can score, with an empty row.
    counts = np.array([[2, 0, 1, 0, 4], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 9, 0]])
    #: Exposures given with them (B,), where the likelihood takes them.
    given: np.ndarray | None = None

    @abstractmethod
    def reference(
        self, likelihood: Likelihood, logits: torch.Tensor, counts: torch.Tensor, exposure
    ) -> torch.Tensor:
        """Compute log p(x | a) densely: (B, V), (B, V), (B,) → (B,)."""

    def make(self) -> Likelihood:
        """The likelihood, in float64, with parameters that are not all alike."""
        return get_likelihood(self.name)

    @pytest.fixture
    def likelihood(self) -> Likelihood:
        return self.make().double()

    @pytest.fixture
    def parts(self):
        """h (B, H), W (V, H) and b (V,) in float64."""
        b, v = self.counts.shape
        shapes = [(b, 3), (v, 3), (v,)]
        return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def x(self, dtype=torch.float64) -> SparseRows:
        """The counts, with the exposures that are given."""
        return SparseRows.from_scipy(csr_array(self.counts), dtype=dtype, exposure=self.given)

    def dense_log_prob(self, likelihood, h, weight, bias):
        counts = torch.tensor(self.counts, dtype=torch.float64)
        exposure = likelihood.exposure(self.x())
        return self.reference(likelihood, h @ weight.T + bias, counts, exposure)

    # --- scoring ------------------------------------------------------------------------------

    def test_log_prob(self, likelihood, parts):
        x = self.x()
        expected = self.dense_log_prob(likelihood, *parts)
        torch.testing.assert_close(likelihood.log_prob(*parts, x), expected)

    def test_gradients(self, likelihood, parts):
        x = self.x()
        weights = torch.randn(len(self.counts), dtype=torch.float64)
        asked = [*parts, *likelihood.parameters()]
        found = torch.autograd.grad(likelihood.log_prob(*parts, x), asked, weights)
        expected = torch.autograd.grad(self.dense_log_prob(likelihood, *parts), asked, weights)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
        assert torch.autograd.gradcheck(lambda *p: likelihood.log_prob(*p, x), parts)

    def test_draws_of_z_are_those_of_separate_calls(self, likelihood, parts):
        x = self.x()
        h, weight, bias = parts
        stacked = torch.stack([h, -h, 0.5 * h]).detach().requires_grad_()
        together = likelihood.log_prob(stacked, weight, bias, x)
        apart = torch.stack([likelihood.log_prob(one, weight, bias, x) for one in stacked])
        torch.testing.assert_close(together, apart)
        asked = [stacked, weight, bias, *likelihood.parameters()]
        for a, b in zip(
            torch.autograd.grad(together.sum(), asked),
            torch.autograd.grad(apart.sum(), asked),
            strict=True,
        ):
            torch.testing.assert_close(a, b)

    def test_a_held_data_term(self, likelihood, parts):
        x = self.x()
        term = likelihood.data_term(x, *parts[1:])
        asked = [*parts, *likelihood.parameters()]
        held, fresh = likelihood.log_prob(*parts, x, term), likelihood.log_prob(*parts, x)
        torch.testing.assert_close(held, fresh)
        for a, b in zip(
            torch.autograd.grad(held.sum(), asked),
            torch.autograd.grad(fresh.sum(), asked),
            strict=True,
        ):
            torch.testing.assert_close(a, b)

    def test_frozen(self, likelihood, parts):
        x = self.x()
        fixed = [parts[0], *(p.detach() for p in parts[1:])]
        frozen = likelihood.log_prob(*fixed, x, likelihood.data_term(x, *fixed[1:]), frozen=True)
        (found,) = torch.autograd.grad(frozen.sum(), parts[0], retain_graph=True)
        (expected,) = torch.autograd.grad(likelihood.log_prob(*parts, x).sum(), parts[0])
        torch.testing.assert_close(found, expected)
        frozen.sum().backward()
        assert all(p.grad is None for p in likelihood.parameters())

    def test_float32(self, parts):
        narrow = [p.detach().float() for p in parts]
        likelihood = self.make()
        found = likelihood.log_prob(*narrow, self.x(torch.float32))
        assert found.dtype == torch.float32
        wide = likelihood.double()
        torch.testing.assert_close(
            found.double(), self.dense_log_prob(wide, *parts).detach(), rtol=1e-5, atol=1e-5
        )

    def test_extreme_logits_stay_finite(self, parts):
        likelihood = self.make()
        x = self.x(torch.float32)
        h, weight, bias = (p.detach().float() for p in parts)
        for scale in (30.0, -30.0):
            h_large = (scale * h).requires_grad_()
            out = likelihood.log_prob(h_large, weight, bias.clamp(max=0), x)
            (gradient,) = torch.autograd.grad(out.sum(), h_large)
            assert not out.isnan().any()
            assert not gradient.isnan().any()

    def test_rows_that_say_nothing(self, likelihood, parts):
        x = self.x()
        empty = torch.tensor(self.counts.sum(1) == 0)
        silent = likelihood.silent(x)
        assert torch.equal(silent, empty & self.empty_is_silent)
        (gradient,) = torch.autograd.grad(likelihood.log_prob(*parts, x).sum(), parts[0])
        assert torch.equal((gradient == 0).all(1), silent)

    # --- a sample of the features -------------------------------------------------------------

    def test_a_sample_of_everything_is_exact(self, likelihood, parts):
        x, v = self.x(), self.counts.shape[1]
        ones = torch.ones(v, dtype=torch.float64)
        everything = FeatureSample(torch.arange(v), ones, ones)
        asked = [*parts, *likelihood.parameters()]
        found = likelihood.log_prob(*parts, x, sample=everything)
        exact = likelihood.log_prob(*parts, x)
        torch.testing.assert_close(found, exact)
        for a, b in zip(
            torch.autograd.grad(found.sum(), asked),
            torch.autograd.grad(exact.sum(), asked),
            strict=True,
        ):
            torch.testing.assert_close(a, b)

    def test_own_features_are_exact_in_a_sample(self, likelihood, parts):
        """Sampled features that together stand for copies of themselves, and a row's own."""
        row = csr_array(np.array([[3, 0, 0, 0, 2]]).clip(max=self.counts.max()))
        own = None if self.given is None else self.given[:1]
        x = SparseRows.from_scipy(row, dtype=torch.float64, exposure=own)
        h, weight, bias = (p.detach() for p in parts)
        # Features 1 and 2 are alike and stand for each other: 2 is drawn with weight 2.
        weight[1], bias[1] = weight[2], bias[2]
        with torch.no_grad():
            for p in likelihood.parameters():
                if len(p) > 1:  # one for each feature
                    p[1] = p[2]
        drawn, weights = torch.tensor([2, 3]), torch.tensor([2.0, 1.0], dtype=torch.float64)
        expansion = torch.zeros(5, dtype=torch.float64).index_copy(0, drawn, weights)
        sample = FeatureSample(drawn, weights, expansion)
        torch.testing.assert_close(
            likelihood.log_prob(h[:1], weight, bias, x, sample=sample),
            likelihood.log_prob(h[:1], weight, bias, x),
        )

    # --- curvature and Jacobians --------------------------------------------------------------

    def test_curvature(self, likelihood, parts):
        """That of the reference at the mean: where it depends on x at all, it is linear in it."""
        h, weight, bias = (p.detach() for p in parts)
        for z, exposure in zip(h, torch.tensor([1.0, 0.5, 7.0, 20.0]).double(), strict=True):
            a = (weight @ z + bias)[None]
            x = likelihood.mean(a, exposure[None])

            def negative(z, x=x, exposure=exposure):
                a = (weight @ z + bias)[None]
                return -self.reference(likelihood, a, x, exposure[None])[0]

            expected = torch.autograd.functional.hessian(negative, z)
            found = likelihood.curvature(weight, a[0], exposure)
            torch.testing.assert_close(found, expected)

    def test_curvature_of_repeated_features(self, likelihood, parts):
        h, weight, bias = (p.detach() for p in parts)
        times, exposure = torch.tensor([1, 3, 1, 2, 1]), torch.tensor(7.0).double()
        features = torch.arange(5).repeat_interleave(times)
        logits = weight @ h[0] + bias
        torch.testing.assert_close(
            likelihood.curvature(weight, logits, exposure, torch.arange(5), times.double()),
            likelihood.curvature(weight[features], logits[features], exposure, features),
        )

    @pytest.mark.parametrize("of", get_args(JacobianKind))
    def test_jacobians(self, likelihood, of):
        decoder = Decoder(3, 5, n_layers=1, n_hidden=6).double()
        with torch.no_grad():
            decoder.weight.normal_(0, 1)
            decoder.bias.normal_(0, 1)
        z = torch.randn(7, 3, dtype=torch.float64)

        def function(z):
            a = decoder(z[None])
            if of == "root_probabilities":  # held to the curvature below
                return a[0]
            return {
                "logits": lambda: a,
                "mean": lambda: likelihood.mean(a, torch.ones(1, dtype=torch.float64)),
                "probabilities": lambda: likelihood.probabilities(a),
                "log_probabilities": lambda: likelihood.log_probabilities(a),
            }[of]()[0]

        found = jacobian_at(decoder, z, of, likelihood)
        if of != "root_probabilities":
            expected = torch.stack([torch.autograd.functional.jacobian(function, one) for one in z])
            torch.testing.assert_close(found, expected)
        moments = average_jacobian(decoder, torch.split(z, 4), of, likelihood=likelihood)
        halves = [found[:4], found[4:]]
        mean = sum(j.mean(0) for j in halves) / 2
        gram = sum((j.mT @ j).mean(0) for j in halves) / 2
        torch.testing.assert_close(moments.mean, mean)
        torch.testing.assert_close(moments.second, gram)
        features = torch.arange(7) % 5
        rows = feature_rows(decoder, z, features, of, likelihood)
        torch.testing.assert_close(rows, found[torch.arange(7), features])

    def test_root_probabilities_are_the_information_in_one_exposure(self, likelihood):
        decoder = Decoder(3, 5, n_layers=0, n_hidden=1).double()
        z = torch.randn(1, 3, dtype=torch.float64)
        (root,) = jacobian_at(decoder, z, "root_probabilities", likelihood)
        one = torch.ones((), dtype=torch.float64)
        expected = likelihood.curvature(decoder.weight.detach(), decoder(z)[0].detach(), one)
        torch.testing.assert_close(root.T @ root, expected)

    # --- means and draws ----------------------------------------------------------------------

    def test_probabilities_are_the_normalised_mean(self, likelihood):
        logits = torch.randn(3, 5, dtype=torch.float64) * 3
        p = likelihood.probabilities(logits)
        torch.testing.assert_close(p.sum(1), torch.ones(3, dtype=torch.float64))
        torch.testing.assert_close(likelihood.log_probabilities(logits), p.log())
        mean = likelihood.mean(logits, torch.tensor([1.0, 7.0, 100.0], dtype=torch.float64))
        torch.testing.assert_close(mean / mean.sum(1, keepdim=True), p)

    def test_mean_agrees_with_samples(self, likelihood):
        n = 4000
        logits = torch.tensor([[1.0, 0.0, -1.0, 2.0, -3.0]]).double()
        exposure = torch.tensor([6.0]).double()
        draws = likelihood.sample(
            logits.expand(n, -1), exposure.expand(n), torch.Generator().manual_seed(0)
        )
        assert draws.shape == (n, 5)
        assert (draws == draws.round()).all()
        assert (draws >= 0).all()
        standard_error = draws.std(0) / n**0.5
        error = (draws.mean(0) - likelihood.mean(logits, exposure)[0]).abs()
        assert (error < 4 * standard_error).all()

    def test_samples_have_the_distribution_that_is_scored(self, likelihood):
        """E_x[p₂(x)/p₁(x)] = 1 for x ~ p₁: what is drawn is what `log_prob` scores."""
        n, v = 4000, 5
        logits = torch.tensor([[1.0, 0.0, -1.0, 0.5, -2.0]]).double()
        exposure = torch.tensor([4.0]).double()
        draws = likelihood.sample(
            logits.expand(n, -1), exposure.expand(n), torch.Generator().manual_seed(1)
        )
        other = logits + 0.15 * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).double()
        first, second = (
            self.reference(likelihood, a.expand(n, v), draws, exposure.expand(n))
            for a in (logits, other)
        )
        ratio = (second - first).exp()
        assert abs(ratio.mean() - 1) < 4 * ratio.std() / n**0.5

    def test_samples_come_from_the_generator(self, likelihood):
        logits, exposure = torch.zeros(3, 5).double(), torch.tensor([0.0, 1.0, 50.0]).double()

        def draw(seed):
            return likelihood.sample(logits, exposure, torch.Generator().manual_seed(seed))

        assert torch.equal(draw(1), draw(1))
        assert not torch.equal(draw(1), draw(2))
        if self.empty_is_silent:
            assert (draw(1)[0] == 0).all()

    # --- a model that ignores z ---------------------------------------------------------------

    def test_floor_is_the_model_that_ignores_z(self, likelihood):
        unigram = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05], dtype=torch.float64)
        x = self.x()
        h = torch.randn(len(self.counts), 3, dtype=torch.float64)
        flat = torch.zeros(5, 3, dtype=torch.float64)
        torch.testing.assert_close(
            likelihood.floor(unigram, 1.5, x),
            likelihood.log_prob(h, flat, likelihood.baseline(unigram, 1.5), x),
        )

    def test_the_baseline_has_the_means_of_the_training_rows(self, likelihood):
        unigram = torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05]], dtype=torch.float64)
        size = 1.5 if self.given is None else 1.0  # their mean total; or one unit of exposure
        exposure = torch.tensor([likelihood.typical_exposure(size)], dtype=torch.float64)
        mean = likelihood.mean(likelihood.baseline(unigram, 1.5), exposure)
        torch.testing.assert_close(mean, 1.5 * unigram)
