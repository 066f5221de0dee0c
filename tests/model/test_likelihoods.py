from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.special import gammaln
from scipy.stats import dirichlet_multinomial, nbinom
from torch import distributions

from longtail.errors import DataError, ParameterError
from longtail.introspection.closed_form import jacobian_at
from longtail.model import (
    Decoder,
    DirichletMultinomial,
    NegativeBinomial,
    Poisson,
    get_likelihood,
)
from longtail.model.likelihoods import (
    LIKELIHOODS,
    marginal_log_concentration,
    marginal_log_dispersion,
    resolve_exposure,
)
from longtail.model.likelihoods.dirichlet_multinomial import _information
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


class TestDirichletMultinomial(LikelihoodConformance):
    name = "dirichlet_multinomial"

    def make(self):
        return DirichletMultinomial(torch.tensor([0.7]))

    def reference(self, likelihood, logits, counts, exposure):
        c = likelihood.log_concentration.exp() * torch.softmax(logits, 1)
        full = [
            torch.zeros(()).double()
            if not n.any()
            else torch.lgamma(own.sum())
            - torch.lgamma(own.sum() + n.sum())
            + (torch.lgamma(own + n) - torch.lgamma(own)).sum()
            for own, n in zip(c, counts, strict=True)
        ]
        return torch.stack(full)

    @pytest.mark.parametrize("counts", [[1, 0, 0], [3, 0, 1], [2, 2, 5]])
    def test_it_is_the_law_of_the_counts(self, likelihood, counts):
        p = torch.tensor([0.2, 0.5, 0.3]).double()
        alpha = float(likelihood.log_concentration.detach().exp())
        found = likelihood.log_prob(
            p.log()[None], torch.eye(3).double(), torch.zeros(3).double(), sparse([counts])
        )
        coefficient = gammaln(sum(counts) + 1) - gammaln(np.add(counts, 1)).sum()
        law = dirichlet_multinomial(alpha * p.numpy(), sum(counts))
        np.testing.assert_allclose(found[0].item() + coefficient, law.logpmf(counts))

    @pytest.mark.parametrize("total", [1, 2, 5, 9])
    @pytest.mark.parametrize("log_alpha", [-1.0, 1.5, 5.0])
    def test_curvature(self, total, log_alpha):
        """The mean over all rows of this total; at most a tenth above it."""
        likelihood = DirichletMultinomial(torch.tensor([log_alpha])).double()
        weight, bias = torch.randn(5, 2).double(), torch.randn(5).double()
        z = torch.randn(2).double()
        rows = [n for n in product(range(total + 1), repeat=5) if sum(n) == total]
        counts = torch.tensor(rows).double()
        coefficient = torch.lgamma(torch.tensor(total + 1.0)) - torch.lgamma(counts + 1).sum(1)

        def log_probs(z):
            logits = (weight @ z + bias).expand(len(rows), 5)
            return self.reference(likelihood, logits, counts, None)

        chances = (log_probs(z) + coefficient).exp()
        torch.testing.assert_close(chances.sum(), torch.ones(()).double())
        expected = torch.autograd.functional.hessian(
            lambda z: -(chances.detach() * log_probs(z)).sum(), z
        )
        exposure = torch.tensor(float(total)).double()
        found = likelihood.curvature(weight, weight @ z + bias, exposure)
        ratios = torch.linalg.eigvals(torch.linalg.solve(expected, found)).real
        assert ratios.min() > 0.98
        assert ratios.max() < (1.001 if total == 1 else 1.1)

    def test_root_probabilities_are_the_information_in_one_exposure(self, likelihood):
        """To the accuracy of the curvature."""
        decoder = Decoder(3, 5, n_layers=0, n_hidden=1).double()
        z = torch.randn(1, 3, dtype=torch.float64)
        (root,) = jacobian_at(decoder, z, "root_probabilities", likelihood)
        one = torch.ones((), dtype=torch.float64)
        found = likelihood.curvature(decoder.weight.detach(), decoder(z)[0].detach(), one)
        torch.testing.assert_close(found, root.T @ root, rtol=1e-3, atol=1e-9)

    def test_of_presence_it_is_the_multinomial_but_for_a_constant(self, likelihood):
        x, zero = sparse([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0]]), torch.zeros(5).double()
        h, other = (torch.log_softmax(torch.randn(2, 5).double(), 1) for _ in range(2))
        identity, multinomial = torch.eye(5).double(), get_likelihood("multinomial")

        def gained(kind):
            return kind.log_prob(h, identity, zero, x) - kind.log_prob(other, identity, zero, x)

        torch.testing.assert_close(gained(likelihood), gained(multinomial))

    def test_repeats_are_no_independent_tokens(self, likelihood):
        assert likelihood.independent(1.0) == pytest.approx(1)
        assert 5 < likelihood.independent(300.0) < 20
        p, alpha = torch.tensor([0.6, 0.3, 0.1]).double(), likelihood.log_concentration.exp()
        total = torch.tensor(300.0).double()
        assert _information(p, alpha, total).sum() < likelihood.independent(300.0)
        with torch.no_grad():
            likelihood.log_concentration.fill_(20.0)
        assert likelihood.independent(300.0) == pytest.approx(300, rel=1e-3)

    def test_large_concentrations_are_the_multinomial(self, likelihood, parts):
        with torch.no_grad():
            likelihood.log_concentration.fill_(20.0)
        x = sparse(self.counts)
        expected = get_likelihood("multinomial").log_prob(*parts, x)
        torch.testing.assert_close(likelihood.log_prob(*parts, x), expected, rtol=1e-6, atol=1e-6)

    def test_repeats_say_less_than_they_count(self, likelihood):
        gained = []
        for row in ([1, 0, 0, 0, 0], [100, 0, 0, 0, 0]):
            h = torch.zeros(1, 5).double().requires_grad_()
            found = likelihood.log_prob(h, torch.eye(5).double(), h.detach()[0], sparse([row]))
            gained.append(torch.autograd.grad(found.sum(), h)[0][0, 0])
        assert gained[0] < gained[1] < 5 * gained[0]

    def test_samples_have_the_totals_asked_for(self, likelihood):
        totals = torch.tensor([0.0, 1.0, 17.0, 300.0])
        draws = likelihood.sample(torch.randn(4, 6), totals, torch.Generator().manual_seed(0))
        assert torch.equal(draws.sum(1), totals)

    def test_samples_vary_as_they_should(self):
        likelihood = DirichletMultinomial(torch.tensor([math.log(3.0)])).double()
        logits = torch.tensor([0.2, 0.5, 0.3]).double().log().expand(4000, 3)
        totals = torch.full((4000,), 12.0).double()
        draws = likelihood.sample(logits, totals, torch.Generator().manual_seed(0))
        law = dirichlet_multinomial([0.6, 1.5, 0.9], 12)
        np.testing.assert_allclose(draws.mean(0), law.mean(), rtol=0.05)
        np.testing.assert_allclose(np.cov(draws.T.numpy()), law.cov(), rtol=0.1)

    def test_the_floor_has_the_concentration_of_the_start(self, likelihood):
        unigram = torch.full((5,), 0.2).double()
        before = likelihood.floor(unigram, 2.0, sparse(self.counts))
        with torch.no_grad():
            likelihood.log_concentration.add_(3.0)
        torch.testing.assert_close(likelihood.floor(unigram, 2.0, sparse(self.counts)), before)


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


def test_the_marginal_concentration_is_the_likeliest():
    rng = np.random.default_rng(0)
    unigram = np.array([0.5, 0.3, 0.15, 0.05])
    totals = rng.integers(0, 60, 3000)
    p = rng.dirichlet(4 * unigram, 3000)
    counts = np.array([rng.multinomial(n, own) for n, own in zip(totals, p, strict=True)])
    found = np.exp(marginal_log_concentration(csr_array(counts), unigram))
    np.testing.assert_allclose(found, 4, rtol=0.1)
    same = rng.multinomial(40, unigram, 500)
    assert marginal_log_concentration(csr_array(same), unigram) > math.log(200)
