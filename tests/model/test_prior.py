from __future__ import annotations

import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from longtail.model import StandardNormal

PRIOR = StandardNormal()


def posterior(b=4, k=3):
    return torch.randn(b, k, dtype=torch.float64), torch.randn(b, k, dtype=torch.float64)


def test_kl_per_dimension():
    mean, log_var = posterior()
    q = Normal(mean, (0.5 * log_var).exp())
    p = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(PRIOR.kl(mean, log_var), kl_divergence(q, p))


def test_kl_agrees_with_monte_carlo():
    mean, log_var = posterior(b=2, k=2)
    q = Normal(mean, (0.5 * log_var).exp())
    z = q.sample((100_000,))
    draws = q.log_prob(z).sum(-1) - PRIOR.log_prob(z)
    error = draws.mean(0) - PRIOR.kl(mean, log_var).sum(1)
    assert (error.abs() < 4 * draws.std(0) / len(draws) ** 0.5).all()


def test_kl_of_a_full_covariance():
    mean, log_var = posterior()
    a = torch.randn(4, 3, 3, dtype=torch.float64)
    root = torch.linalg.cholesky(a @ a.mT + torch.eye(3))
    q = MultivariateNormal(mean, precision_matrix=root @ root.mT)
    p = MultivariateNormal(torch.zeros_like(mean), torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(PRIOR.full_kl(mean, root), kl_divergence(q, p))
    diagonal = torch.diag_embed((-0.5 * log_var).exp())
    torch.testing.assert_close(PRIOR.full_kl(mean, diagonal), PRIOR.kl(mean, log_var).sum(1))


def test_the_prior_has_no_kl_to_itself():
    assert (PRIOR.kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0).all()


def test_log_prob():
    z = torch.randn(5, 4, 3)
    torch.testing.assert_close(PRIOR.log_prob(z), Normal(0, 1).log_prob(z).sum(-1))


def test_samples():
    def draw(seed):
        return PRIOR.sample(20_000, 3, torch.Generator().manual_seed(seed))

    z = draw(0)
    assert torch.equal(z, draw(0))
    assert not torch.equal(z, draw(1))
    torch.testing.assert_close(z.T.cov(), torch.eye(3), rtol=0, atol=0.05)
    assert z.mean(0).abs().max() < 4 / 20_000**0.5
