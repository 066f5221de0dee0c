from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.stats import nbinom
from torch import distributions

from longtail.errors import DataError, ParameterError
from longtail.model import NegativeBinomial, Poisson, get_likelihood
from longtail.model.likelihoods import (
    LIKELIHOODS,
    marginal_log_dispersion,
    resolve_exposure,
)
from longtail.ops import SparseRows
from tests.builders import sparse
from tests.conformance import LikelihoodConformance


class TestMultinomial(LikelihoodConformance):
    name = "multinomial"

    def reference(self, likelihood, logits, counts, exposure):
        coefficient = torch.lgamma(counts.sum(1) + 1) - torch.lgamma(counts + 1).sum(1)
        full = [
            distributions.Multinomial(1, logits=a, validate_args=False).log_prob(n)
            for a, n in zip(logits, counts, strict=True)
        ]
        return torch.stack(full) - coefficient

    def test_samples_have_the_totals_asked_for(self, likelihood):
        totals = torch.tensor([0.0, 1.0, 17.0, 300.0])
        draws = likelihood.sample(torch.randn(4, 6), totals, torch.Generator().manual_seed(0))
        assert torch.equal(draws.sum(1), totals)


class TestBernoulli(LikelihoodConformance):
    name = "bernoulli"
    empty_is_silent = False
    counts = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]])

    def reference(self, likelihood, logits, counts, exposure):
        return distributions.Bernoulli(logits=logits, validate_args=False).log_prob(counts).sum(1)

    def test_a_feature_that_every_row_has(self, likelihood):
        unigram = torch.tensor([0.6, 0.4]).double()
        bias = likelihood.baseline(unigram, 2.0)
        assert bias.isfinite().all()
        assert bias[0] > 9


class TestPoisson(LikelihoodConformance):
    name = "poisson"
    empty_is_silent = False

    def reference(self, likelihood, logits, counts, exposure):
        safe = torch.where(exposure > 0, exposure, torch.ones_like(exposure))
        law = distributions.Poisson(logits.exp() * safe[:, None], validate_args=False)
        return torch.where(exposure > 0, law.log_prob(counts).sum(1), torch.zeros(()).double())


class TestPoissonWithExposure(TestPoisson):
    empty_is_silent = True

    def make(self):
        return get_likelihood("poisson", exposure="total")

    def test_given_its_total_it_is_the_multinomial(self, likelihood):
        """Σ x log s − s + N log N … differ by what does not depend on z, at the normalised a."""
        x = sparse(self.counts)
        h, weight = torch.randn(4, 3).double(), torch.randn(5, 3).double()
        a = torch.log_softmax(h @ weight.T, 1)
        identity, zero = torch.eye(5).double(), torch.zeros(5).double()
        found = likelihood.log_prob(a, identity, zero, x)
        multinomial = get_likelihood("multinomial").log_prob(a, identity, zero, x)
        totals, counts = x.totals(), torch.tensor(self.counts).double()
        constant = torch.xlogy(totals, totals) - totals - torch.lgamma(counts + 1).sum(1)
        torch.testing.assert_close(found, multinomial + constant)


EXPOSURES = np.array([3.5, 0.02, 1.0, 400.0])


class TestPoissonOfGivenExposure(TestPoisson):
    given = EXPOSURES

    def make(self):
        return get_likelihood("poisson", exposure="given")

    def test_more_exposure_at_a_lower_rate_is_the_same(self, likelihood, parts):
        h, weight, bias = (p.detach() for p in parts)
        more = replace(self.x(), exposure=8 * self.x().exposure)
        torch.testing.assert_close(
            likelihood.log_prob(h, weight, bias - np.log(8), more),
            likelihood.log_prob(h, weight, bias, self.x()),
        )


class TestNegativeBinomial(LikelihoodConformance):
    name = "negative_binomial"

    def make(self):
        return NegativeBinomial(torch.tensor([-2.0, 0.5, 3.0, 0.0, 1.0]))

    def reference(self, likelihood, logits, counts, exposure):
        r = likelihood.log_dispersion.exp()
        safe = torch.where(exposure > 0, exposure, torch.ones_like(exposure))
        odds = torch.log_softmax(logits, 1) + safe.log()[:, None] - likelihood.log_dispersion
        law = distributions.NegativeBinomial(r, logits=odds, validate_args=False)
        return torch.where(exposure > 0, law.log_prob(counts).sum(1), torch.zeros(()).double())

    def test_root_probabilities_are_the_information_in_one_exposure(self, likelihood):
        """They are those of a Poisson, which no dispersion takes more from."""
        with torch.no_grad():
            likelihood.log_dispersion.fill_(20.0)
        super().test_root_probabilities_are_the_information_in_one_exposure(likelihood)

    def test_large_dispersions_are_a_poisson(self, likelihood):
        with torch.no_grad():
            likelihood.log_dispersion.fill_(25.0)
        x = sparse(self.counts)
        h = torch.log_softmax(torch.randn(4, 5).double(), 1)
        identity, zero = torch.eye(5).double(), torch.zeros(5).double()
        torch.testing.assert_close(
            likelihood.log_prob(h, identity, zero, x),
            Poisson("total").log_prob(h, identity, zero, x),
            rtol=1e-6,
            atol=1e-6,
        )

    def test_the_floor_has_the_dispersions_of_the_start(self, likelihood):
        unigram = torch.full((5,), 0.2).double()
        before = likelihood.floor(unigram, 2.0, sparse(self.counts))
        with torch.no_grad():
            likelihood.log_dispersion.add_(3.0)
        torch.testing.assert_close(likelihood.floor(unigram, 2.0, sparse(self.counts)), before)


class TestNegativeBinomialOfGivenExposure(TestNegativeBinomial):
    empty_is_silent = False
    given = EXPOSURES
    rate = 1.5

    def make(self):
        start = torch.tensor([-2.0, 0.5, 3.0, 0.0, 1.0])
        return get_likelihood(
            "negative_binomial", exposure="given", log_dispersion=start, rate=self.rate
        )

    def test_large_dispersions_are_a_poisson(self, likelihood):
        with torch.no_grad():
            likelihood.log_dispersion.fill_(25.0)
        h = torch.log_softmax(torch.randn(4, 5).double(), 1)
        identity, zero = torch.eye(5).double(), torch.zeros(5).double()
        torch.testing.assert_close(
            likelihood.log_prob(h, identity, zero, self.x()),
            Poisson("given").log_prob(h, identity, zero + np.log(self.rate), self.x()),
            rtol=1e-6,
            atol=1e-6,
        )

    def test_the_floor_has_the_dispersions_of_the_start(self, likelihood):
        unigram = torch.full((5,), 0.2).double()
        before = likelihood.floor(unigram, 2.0, self.x())
        with torch.no_grad():
            likelihood.log_dispersion.add_(3.0)
        torch.testing.assert_close(likelihood.floor(unigram, 2.0, self.x()), before)

    def test_the_unit_of_exposure_does_not_matter(self, likelihood, parts):
        other = get_likelihood(
            "negative_binomial",
            exposure="given",
            log_dispersion=likelihood.marginal,
            rate=self.rate / 8,
        )
        more = replace(self.x(), exposure=8 * self.x().exposure)
        assert torch.equal(other.log_prob(*parts, more), likelihood.log_prob(*parts, self.x()))
        assert other.typical_exposure(8.0) == likelihood.typical_exposure(1.0) == self.rate

    def test_the_floor_has_the_rate_of_all_rows_so_far(self, likelihood):
        unigram = torch.full((5,), 0.2).double()
        more = replace(self.x(), exposure=2 * self.x().exposure)
        torch.testing.assert_close(
            likelihood.floor(unigram, 3.0, self.x()), likelihood.floor(unigram, 1.5, more)
        )


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_given_the_totals_it_is_the_total(name):
    counts = csr_array(LikelihoodConformance.counts[[0, 2, 3]])
    x = SparseRows.from_scipy(counts, exposure=np.asarray(counts.sum(1), dtype=np.float64))
    start = torch.tensor([-2.0, 0.5, 3.0, 0.0, 1.0])
    h, weight, bias = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    given, total = (
        get_likelihood(name, exposure=e, log_dispersion=start) for e in ("given", "total")
    )
    assert torch.equal(given.exposure(x), total.exposure(x))
    assert torch.equal(given.log_prob(h, weight, bias, x), total.log_prob(h, weight, bias, x))


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_rows_without_the_exposures_that_are_needed(name):
    likelihood = get_likelihood(name, exposure="given", log_dispersion=torch.zeros(5))
    x = sparse(LikelihoodConformance.counts)
    parts = torch.zeros(4, 2).double(), torch.zeros(5, 2).double(), torch.zeros(5).double()
    for wrong in (
        lambda: likelihood.exposure(x),
        lambda: likelihood.log_prob(*parts, x),
        lambda: likelihood.data_term(x, *parts[1:]),
        lambda: likelihood.floor(torch.full((5,), 0.2).double(), 1.0, x),
    ):
        with pytest.raises(DataError, match=r"these rows have none.*with_exposure.*--exposure-col"):
            wrong()


def test_every_likelihood_conforms():
    tested = {cls.name for cls in LikelihoodConformance.__subclasses__()}
    assert tested == set(LIKELIHOODS)


def test_an_unknown_name():
    with pytest.raises(ParameterError, match=r"one of bernoulli, .*; got 'gaussian'"):
        get_likelihood("gaussian")


def test_who_has_a_choice_of_exposure():
    assert [resolve_exposure(n, "auto") for n in ("multinomial", "bernoulli", "poisson")] == [
        "total",
        "unit",
        "unit",
    ]
    assert resolve_exposure("poisson", "total") == "total"
    assert resolve_exposure("negative_binomial", "total") == "total"
    assert resolve_exposure("poisson", "given") == "given"
    assert resolve_exposure("negative_binomial", "given") == "given"
    with pytest.raises(ParameterError, match="always 'total' or 'given'"):
        resolve_exposure("negative_binomial", "unit")
    with pytest.raises(ParameterError, match="does not apply to likelihood='multinomial'"):
        resolve_exposure("multinomial", "given")
    with pytest.raises(ParameterError, match="does not apply to likelihood='bernoulli'"):
        resolve_exposure("bernoulli", "total")


def test_the_marginal_dispersion_is_the_likeliest():
    rng = np.random.default_rng(0)
    n, unigram = 6000, np.array([0.55, 0.3, 0.15])
    exposure = rng.integers(5, 60, n).astype(float)
    true = np.array([0.3, 2.0, 20.0])
    mean = exposure[:, None] * unigram
    counts = rng.negative_binomial(true, true / (true + mean))
    found = np.exp(marginal_log_dispersion(csr_array(counts), unigram, exposure))
    np.testing.assert_allclose(found[:2], true[:2], rtol=0.25)
    assert found[2] > 8
    best = np.full(3, -np.inf)
    for r in np.exp(np.linspace(-3, 5, 200)):
        best = np.maximum(best, nbinom.logpmf(counts, r, r / (r + mean)).sum(0))
    own = nbinom.logpmf(counts, found, found / (found + mean)).sum(0)
    assert (own > best - 1).all()
