from __future__ import annotations

import platform

import sklearn

from longtail import load
from longtail.estimator.about import environment, fitted_html
from tests.estimator.models import small, words


def test_the_record_names_kind_of_machine_and_versions_only():
    found = environment("cpu")
    assert found["device"] == "cpu"
    assert platform.python_version() in found["versions"]
    assert platform.node() not in " ".join(found.values()).split()


def test_the_fit_keeps_it(tmp_path):
    model = small(epochs=1).fit(words())
    assert model.fit_info_["environment"] == environment("cpu")
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").fit_info_ == model.fit_info_


def test_models_in_notebooks():
    model = small(epochs=2)
    before = model._repr_html_()
    assert fitted_html(model) == ""
    model.fit(words())
    for html in (model._repr_html_(), model._repr_mimebundle_()["text/html"]):
        assert "training rows" in html
        assert "latent dimensions in use" in html
        assert "NonlinearFactorAnalysis" in html
    assert "training rows" not in before
    with sklearn.config_context(display="text"):
        assert "text/html" not in model._repr_mimebundle_()


def test_results_in_notebooks():
    model = small(epochs=2).fit(words())
    evaluation = model.evaluate(words(20), samples=2, refine_steps=2)
    assert "<img" in evaluation._repr_html_()
    assert "latent dimensions in use" in evaluation._repr_html_()
    assert "<img" in model.history_._repr_html_()
    assert "<table>" in model.recommend(words(3), 2)._repr_html_()
