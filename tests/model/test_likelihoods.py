from __future__ import annotations

import pytest
import torch
from torch.distributions import Multinomial

from longtail.errors import ParameterError
from longtail.model import get_likelihood
from longtail.model.likelihoods import LIKELIHOODS
from tests.conformance import LikelihoodConformance


class TestMultinomial(LikelihoodConformance):
    name = "multinomial"

    def reference(self, logits, counts):
        coefficient = torch.lgamma(counts.sum(1) + 1) - torch.lgamma(counts + 1).sum(1)
        full = [
            Multinomial(int(n.sum()), logits=a, validate_args=False).log_prob(n)
            for a, n in zip(logits, counts, strict=True)
        ]
        return torch.stack(full) - coefficient

    def test_samples_have_the_totals_asked_for(self, likelihood):
        totals = torch.tensor([0.0, 1.0, 17.0, 300.0])
        draws = likelihood.sample(torch.randn(4, 6), totals, torch.Generator().manual_seed(0))
        assert torch.equal(draws.sum(1), totals)


def test_every_likelihood_conforms():
    tested = {cls.name for cls in LikelihoodConformance.__subclasses__()}
    assert tested == set(LIKELIHOODS)


def test_an_unknown_name():
    with pytest.raises(ParameterError, match="one of multinomial; got 'gaussian'"):
        get_likelihood("gaussian")
