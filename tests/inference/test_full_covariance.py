from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from longtail.inference import (
    RefineSettings,
    RowObjective,
    Stream,
    full_covariance,
    log_weight,
    normal_noise,
    refine,
    refine_full,
    row_curvature,
)
from longtail.ops import FeatureSampler
from tests.builders import as_rows, small_network, topic_counts

B, V, K = 12, 15, 3
FIELDS = ("xw", "xb", "totals")


def setup(*, dtype=torch.float64, empty=(), sampler=None, **kwargs):
    model = small_network(V, K, **{"decoder_layers": 2, "scale": 2.0} | kwargs).to(dtype)
    rows = as_rows(topic_counts(B, V, empty=empty), dtype=dtype)
    objective = RowObjective.of(model.generative, rows.counts, sampler=sampler)
    key = rows.noise_key(0)
    start = model.amortized(rows.features).detach().prior_where(objective.data.totals == 0)
    return objective, refine(objective, start, key, RefineSettings(50)), key


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_curvature_is_the_hessian(layers, skip):
    objective, psi, _ = setup(decoder_layers=layers, skip=skip)
    found = row_curvature(objective, psi.mean, 0)
    x = objective.counts.to_dense()

    for z, counts, matrix in zip(psi.mean, x, found, strict=True):

        def negative(z, counts=counts):
            return -(counts @ torch.log_softmax(objective.model.decoder(z[None])[0], 0))

        torch.testing.assert_close(matrix, torch.autograd.functional.hessian(negative, z))


def test_curvature_at_a_latent_zero():
    objective, psi, _ = setup(decoder_layers=0)
    w = objective.model.decoder.weight
    found = row_curvature(objective, torch.zeros_like(psi.mean), 0)
    p = torch.softmax(objective.model.decoder.bias, 0)
    fisher = w.T @ (p.diag() - torch.outer(p, p)) @ w
    torch.testing.assert_close(found, objective.data.totals[:, None, None] * fisher)


def test_curvature_from_samples_of_the_features():
    frequencies = torch.arange(1, V + 1).double() ** 2
    sampler = FeatureSampler(frequencies, 11)
    objective, psi, _ = setup(sampler=sampler)
    exact = row_curvature(RowObjective.of(objective.model, objective.counts), psi.mean, 0)
    draws = torch.stack([row_curvature(objective, psi.mean, n) for n in range(200)])
    assert (torch.linalg.eigvalsh(draws) > -1e-9).all()
    # Normalised by a sampled sum, so a little biased.
    error = (draws.mean(0) - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert error.max() < 0.1
    assert (draws[0] - draws[1]).abs().max() > 0


def test_it_ends_where_the_elbo_is_stationary():
    """By Stein's identity, E_q[∇²f] = E_q[∇f εᵀ] Lᵀ: nothing of the method's own curvature."""
    objective, start, key = setup(decoder_layers=0)
    psi = refine_full(objective, start, key, 400)
    generator = torch.Generator().manual_seed(0)
    gradient, product = torch.zeros_like(psi.mean), torch.zeros_like(psi.root)
    samples = 20_000
    for n in range(samples // 2):
        eps = torch.randn(psi.mean.shape, generator=generator, dtype=psi.mean.dtype)
        for sign in (1, -1):
            g = -objective.log_likelihood(psi.sample(sign * eps), n)[1]
            gradient += g / samples
            product += sign * g[:, :, None] * eps[:, None, :] / samples
    # In posterior standard deviations.
    miss = torch.linalg.solve_triangular(
        psi.root, (gradient + psi.mean)[:, :, None], upper=False
    ).squeeze(2)
    assert miss.abs().max() < 0.1
    expected = torch.eye(K) + product @ psi.root.mT
    error = psi.root @ psi.root.mT - expected
    assert (error.norm(dim=(1, 2)) < 0.1 * expected.norm(dim=(1, 2))).all()


def test_a_bad_start_does_not_lead_it_away():
    objective, star, key = setup(scale=3.0, decoder_layers=2)
    data = replace(objective.data, **{k: 1e4 * getattr(objective.data, k) for k in FIELDS})
    many = replace(objective, data=data)
    far = type(star)(star.mean + 3, star.log_var)
    psi = refine_full(many, far, key)

    def log_joint(z):
        log_p, _ = many.log_likelihood(z.detach(), 0)
        return log_p + objective.model.prior.log_prob(z)

    assert (log_joint(psi.mean) > log_joint(far.mean)).all()


def test_chunks_of_rows_change_nothing(monkeypatch):
    sampler = FeatureSampler(torch.ones(V, dtype=torch.float64), 9)
    for drawn in (None, sampler):
        objective, psi, _ = setup(sampler=drawn)
        whole = row_curvature(objective, psi.mean, 3)
        monkeypatch.setattr(full_covariance, "_CHUNK", 60)
        torch.testing.assert_close(row_curvature(objective, psi.mean, 3), whole)
        monkeypatch.undo()


def test_weights_average_to_one_likelihood():
    """E_q[w] = p(x), whichever q: the two posteriors must agree on it."""
    objective, star, key = setup(decoder_layers=0)
    full = refine_full(objective, star, key)
    found = []
    for psi in (star, full):
        logs = []
        for s in range(3000):
            z = psi.sample(normal_noise(key, K, Stream.BOUND, s).double())
            log_p = objective.model.log_likelihood(z, objective.counts, objective.data)
            logs.append(log_weight(objective.model, psi, z, log_p))
        found.append(torch.logsumexp(torch.stack(logs), 0) - torch.tensor(3000.0).log())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0.1)


def test_rows_do_not_depend_on_their_batch():
    objective, start, key = setup(dtype=torch.float64)
    together = refine_full(objective, start, key, 5)
    network = small_network(V, K, scale=2.0, decoder_layers=2).double()
    dense = topic_counts(B, V)
    alone = as_rows(dense[3:4], dtype=torch.float64)
    single = RowObjective.of(network.generative, alone.counts)
    psi = type(start)(start.mean[3:4], start.log_var[3:4])
    found = refine_full(single, psi, alone.noise_key(0), 5)
    torch.testing.assert_close(found.mean, together.mean[3:4])
    torch.testing.assert_close(found.root, together.root[3:4])


def test_empty_rows_have_the_prior():
    objective, start, key = setup(empty=[2])
    psi = refine_full(objective, start, key, 3)
    torch.testing.assert_close(psi.mean[2], torch.zeros(K, dtype=torch.float64))
    torch.testing.assert_close(psi.root[2], torch.eye(K, dtype=torch.float64))


def test_float32_models():
    wide, star, key = setup()
    narrow, *_ = setup(dtype=torch.float32)
    psi = refine_full(wide, star, key)
    start = type(star)(star.mean.float(), star.log_var.float())
    found = refine_full(narrow, start, key)
    torch.testing.assert_close(found.mean, psi.mean, rtol=0, atol=1e-2)
    torch.testing.assert_close(found.root, psi.root, rtol=1e-2, atol=1e-2)


def test_nearly_collinear_directions_of_long_rows():
    narrow, star, key = setup(dtype=torch.float32, decoder_layers=0)
    with torch.no_grad():
        weight = narrow.model.decoder.weight
        weight[:, 1] = weight[:, 0] * (1 + 1e-4)
        weight.mul_(30)
    data = replace(narrow.data, **{k: 1e5 * getattr(narrow.data, k) for k in FIELDS})
    psi = refine_full(replace(narrow, data=data), star, key)
    assert torch.isfinite(psi.root).all()
    assert torch.isfinite(psi.mean).all()
