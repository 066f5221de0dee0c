from __future__ import annotations

import torch
from torch.distributions import MultivariateNormal, Normal

from longtail.inference import FullGaussianPosterior, GaussianPosterior


def posterior(b=4, k=3):
    return GaussianPosterior(torch.randn(b, k), torch.randn(b, k))


def test_density_and_draws():
    q = posterior()
    reference = Normal(q.mean, (0.5 * q.log_var).exp())
    noise = torch.randn(4, 3)
    z = q.sample(noise)
    torch.testing.assert_close(q.scale, reference.stddev)
    torch.testing.assert_close(z, q.mean + reference.stddev * noise)
    torch.testing.assert_close(q.log_prob(z), reference.log_prob(z).sum(1))


def test_prior_where():
    q = posterior()
    mixed = q.prior_where(torch.tensor([False, True, False, True]))
    for value, original in [(mixed.mean, q.mean), (mixed.log_var, q.log_var)]:
        assert (value[[1, 3]] == 0).all()
        assert torch.equal(value[[0, 2]], original[[0, 2]])


def test_the_prior_replaces_even_what_is_not_finite():
    q = GaussianPosterior(torch.tensor([[torch.nan]]), torch.tensor([[torch.inf]]))
    prior = q.prior_where(torch.tensor([True]))
    assert prior.mean.item() == prior.log_var.item() == 0


def test_detach():
    q = GaussianPosterior(torch.ones(1, 1, requires_grad=True), torch.ones(1, 1))
    assert not q.detach().mean.requires_grad


def test_a_full_covariance():
    mean = torch.randn(4, 3, dtype=torch.float64)
    a = torch.randn(4, 3, 3, dtype=torch.float64)
    root = torch.linalg.cholesky(a @ a.mT + torch.eye(3))
    q = FullGaussianPosterior(mean, root)
    reference = MultivariateNormal(mean, precision_matrix=root @ root.mT)
    noise = torch.randn(4, 3, dtype=torch.float64)
    z = q.sample(noise)
    torch.testing.assert_close(q.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(root.mT @ (z - mean)[:, :, None], noise[:, :, None])
    torch.testing.assert_close(2 * q.log_root_det(), torch.logdet(root @ root.mT))
