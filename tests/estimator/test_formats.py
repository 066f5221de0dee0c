"""Models saved by earlier versions open, and answer as they did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from longtail import CountMatrix, ReadSettings, load
from longtail.archive import FORMAT_VERSION

FIXTURES = Path(__file__).parents[1] / "fixtures"


def opened(version):
    model = load(FIXTURES / f"model_format_{version}")
    answers = json.loads((FIXTURES / f"model_format_{version}.json").read_text("utf-8"))
    return model, answers, CountMatrix.from_any(answers["rows"], vocabulary=model.vocabulary_)


def test_every_format_has_a_fixture():
    folders = {path.name for path in FIXTURES.glob("model_format_*") if path.is_dir()}
    assert folders == {f"model_format_{n}" for n in range(1, FORMAT_VERSION + 1)}
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*")) < 100_000


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_what_was_saved(version):
    model, answers, rows = opened(version)
    found = {
        "amortized_mean": model.posterior(rows, refine_steps=0).mean,
        "probabilities_at_1_-1": model.inverse_transform([[1, -1]])[0],
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, answers[name], atol=1e-4, err_msg=name)
    assert (model.transform(rows)[3] == 0).all()

    assert model.vocabulary_.names[:2] == ("tree", "leaf")
    assert model.vocabulary_.names[-4:] == ("é", "ñ", "ß", "语")
    expected = ReadSettings(text_column="body", stop_words=("the", "and"), min_df=2)
    assert model.read_settings_ == expected
    assert (model.n_components, model.n_hidden, model.skip) == (2, 4, True)
    assert model.refine_steps == [[0, 0], [5, 3]]
    assert (model.importance_samples, model.output_epsilon) == (1, 1e-8)
    assert model.fit_info_["train_rows"] == 108
    assert len(model.history_) == model.n_iter_ > 5
    assert model.evaluate(rows).dropped_rows == 1


def test_format_1_is_refined_at_least_as_well_as_it_was():
    model, answers, rows = opened(1)
    assert model.refine_method == "natural"
    # Another optimiser of the same bound.
    was = np.array(answers["elbo_refined"])
    assert (model.score_samples(rows) > was - 0.1).all()
    assert model.score_samples(rows).mean() > was.mean() - 0.02


def test_format_2():
    model, answers, rows = opened(2)
    found = model.posterior(rows)
    np.testing.assert_allclose(found.mean, answers["mean"], atol=1e-4)
    np.testing.assert_allclose(found.scale, answers["scale"], atol=1e-4)
    assert np.abs(found.mean[:3]).max() > 0.5
    np.testing.assert_allclose(model.score_samples(rows), answers["elbo_refined"], atol=1e-3)
    result = model.evaluate(rows)
    assert result.elbo_refined.nats_per_row == pytest.approx(
        np.mean(answers["elbo_refined"][:3]), abs=1e-3
    )
