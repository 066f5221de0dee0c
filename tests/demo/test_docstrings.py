from __future__ import annotations

import json

import numpy as np
import polars as pl

import longtail as lt
from longtail.demo import docstrings as demo

# Ten subjects of ten words: no word is in more than a tenth of the documents.
WORDS = {
    f"package{k}": [f"{'abcdefghij'[k]}word{'abcdefghij'[i]}" for i in range(10)] for k in range(10)
}


def documents(sample, seed, *, progress):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(sample):
        package = list(WORDS)[i % 10]
        text = " ".join(rng.choice(WORDS[package], rng.integers(20, 60)))
        rows.append({"doc_id": f"{package}:f{i}", "package": package, "text": text})
    progress(sample, sample)
    return pl.DataFrame(rows)


def test_the_demo_writes_what_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "load_docstrings", documents)
    monkeypatch.setattr(demo, "docstring_packages", lambda: (tuple(WORDS), ()))
    small = {"n_components": 4, "n_hidden": 16, "batch_size": 50, "eval_refine_steps": 10}
    monkeypatch.setattr(demo, "_SETTINGS", small)
    contexts = (["aworda", "awordb"], ["bworda", "nowhere"])
    monkeypatch.setattr(demo, "_AMBIGUOUS", {"awordc": contexts, "nowhere": contexts})
    said = []
    findings = demo.run_demo(tmp_path / "out", rows=300, epochs=3, seed=0, say=said.append)
    text = "\n".join(said)
    for expected in (
        "ELBO at ψ*",
        "unigram floor",
        "Hybrid against plain",
        "Nearest documents",
        "directions live",
    ):
        assert expected in text
    for path in findings["written"]:
        assert path in text
    out = tmp_path / "out"
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "ladder.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "spectrum.png").read_bytes().startswith(b"\x89PNG")
    assert "<title>Docstrings of Python packages</title>" in (out / "report.html").read_text()
    assert f"open {(out / 'report.html').as_uri()} in a browser" in text
    assert findings["spectrum"].keys() == {"hybrid", "plain"}
    assert pl.read_csv(out / "evaluation.csv")["model"].unique().sort().to_list() == [
        "hybrid",
        "plain",
    ]
    # Unknown words are passed over, and unknown words of a context are left out.
    assert findings["neighbors"].keys() == {"awordc"}
    lists = pl.DataFrame(findings["neighbors"]["awordc"])
    assert lists["context"].unique(maintain_order=True).to_list() == ["aworda, awordb", "bworda"]
    assert (out / "neighbors_awordc.png").read_bytes().startswith(b"\x89PNG")
    model = lt.load(out / "model")
    rows, unseen = lt.read_like(out / "held_out.parquet", model.read_settings_, model.vocabulary_)
    assert rows.n_rows == 60
    assert unseen.mass == 0
    assert model.transform(rows).shape == (60, 4)
    # By chance one in ten of the nearest documents would be on the same subject.
    pairs = [
        near[0].split(":")[0] == found["document"].split(":")[0]
        for found in findings["nearest_documents"]
        for near in found["nearest"]
    ]
    assert sum(pairs) > 0.3 * len(pairs)
    assert json.loads(json.dumps(findings))["corpus"]["test"]["rows"] == 60
