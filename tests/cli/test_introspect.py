"""The commands that open a model up, run by the program's own entry point in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import typer

from longtail import CountMatrix, Vocabulary, directions, embeddings, load, spectrum
from longtail.cli.introspect import _words
from longtail.errors import DataError
from tests.estimator.models import small

WORDS = ["boat", "wave", "sail", "tide", "pan", "oven", "salt", "knife", "a,b", "new york"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("introspect")
    rng = np.random.default_rng(0)
    topics = np.repeat([[0.22, 0.01], [0.01, 0.22]], [1, 1], axis=0)
    weights = np.concatenate([topics[:, :1].repeat(4, 1), topics[:, 1:].repeat(4, 1)], axis=1)
    weights = np.hstack([weights, np.full((2, 2), 0.04)])
    counts = [rng.multinomial(9, weights[i % 2] / weights[i % 2].sum()) for i in range(80)]
    rows = CountMatrix.from_any(np.array(counts), vocabulary=WORDS)
    small(epochs=15, learning_rate=0.03).fit(rows).save(folder / "model")
    small(epochs=3, n_components=4).fit(rows).save(folder / "other")
    texts = [" ".join(rng.choice(WORDS[4 * (i % 2) :][:4], 9)) for i in range(20)]
    pl.DataFrame({"text": texts}).write_parquet(folder / "rows.parquet")
    return folder


def parsed(done):
    code, out, err = done
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def is_a_picture(path):
    data = path.read_bytes()
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    return data.startswith(b"\x89PNG") and width > 200 and height > 100 and len(data) > 5000


# --- neighbors ------------------------------------------------------------------------------------


def test_neighbors_for_people(folder, run):
    code, out, _ = run("neighbors", folder / "model", "boat", "-k", 3)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "boat"
    expected = embeddings(load(folder / "model")).neighbors("boat", 3)["feature"].to_list()
    assert [line.split()[1] for line in lines[1:]] == expected
    assert lines[1].startswith("    1  ")


def test_neighbors_in_several_contexts(folder, run):
    plot = folder / "neighbors.png"
    done = run(
        "neighbors", folder / "model", "boat", "-k", 4, "--context", "wave, tide",
        "--context", "pan", "--count", 3, "--samples", 60, "--seed", 5, "--json", "--plot", plot,
    )  # fmt: skip
    report = parsed(done)
    assert (report["feature"], report["seed"]) == ("boat", 5)
    assert [n["context"] for n in report["neighbors"]] == [["wave", "tide"], ["pan"]]
    model = load(folder / "model")
    for found in report["neighbors"]:
        e = embeddings(model, found["context"], count=3, samples=60, seed=5)
        assert found["list"] == e.neighbors("boat", 4).to_dicts()
    assert is_a_picture(plot)
    assert str(plot) in done[2]
    code, out, _ = run(
        "neighbors", folder / "model", "boat", "--context", "pan", "--context", "salt"
    )
    assert code == 0
    assert "boat in the context of pan\n" in out
    assert "boat in the context of salt\n" in out


@pytest.mark.parametrize("output", [[], ["--json"]])
def test_the_same_context_twice(folder, run, output):
    code, out, err = run(
        "neighbors", folder / "model", "boat", "--context", "pan", "--context", "pan", *output
    )
    assert code == 0, err
    assert "pan" in out


def test_the_same_context_written_in_two_ways(folder, run):
    twice = ("--context", "pan,new york", "--context", "pan, new york")
    report = parsed(run("neighbors", folder / "model", "boat", *twice, "--json"))
    assert [found["context"] for found in report["neighbors"]] == [["pan", "new york"]]


def test_a_comma_in_a_feature_s_name(folder, run):
    report = parsed(
        run("neighbors", folder / "model", "a,b", "--context", r"a\,b,new york", "--json")
    )
    assert report["feature"] == "a,b"
    assert report["neighbors"][0]["context"] == ["a,b", "new york"]


def test_settings_of_neighbors(folder, run):
    command = ("neighbors", folder / "model", "boat", "--json", "--samples", 60)
    model = load(folder / "model")
    found = parsed(run(*command, "--metric", "euclidean", "--of", "logits"))
    e = embeddings(model, of="logits", metric="euclidean", samples=60)
    assert found["neighbors"][0] == {"context": [], "list": e.neighbors("boat").to_dicts()}
    about = parsed(run(*command, "--approximate"))
    assert len(about["neighbors"][0]["list"]) == 9


# --- spectrum -------------------------------------------------------------------------------------


def test_spectrum_for_people(folder, run):
    code, out, _ = run("spectrum", folder / "model", folder / "rows.parquet", "--samples", 60)
    assert code == 0
    assert "of 3 latent directions live" in out
    assert "over 20 rows" in out
    model = load(folder / "model")
    assert spectrum(model, samples=60).advice[""].split(".")[0] in out


def test_spectrum_of_several_models(folder, run):
    plot = folder / "spectrum.png"
    done = run(
        "spectrum", folder / "model", "--against", folder / "other", "--samples", 60, "--seed", 2,
        "--json", "--plot", plot,
    )  # fmt: skip
    report = parsed(done)
    assert {name: s["components"] for name, s in report.items()} == {"model": 3, "other": 4}
    assert report["model"]["seed"] == 2
    assert is_a_picture(plot)
    expected = spectrum(load(folder / "other"), samples=60, seed=2).to_dict()[""]
    assert report["other"] == expected


def test_spectrum_over_the_rows(folder, run):
    command = ("spectrum", folder / "model", "--at", "rows", "--samples", 60, "--json")
    report = parsed(run(*command, folder / "rows.parquet"))
    assert "20 rows" in report[""]["at"]
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert "without rows" in err


# --- directions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["varimax", "singular", "dimension"])
def test_directions(folder, run, by):
    command = ("directions", folder / "model", "--top", 2, "--words", 3, "--by", by)
    model = load(folder / "model")
    expected = directions(model, top=2, words=3, by=by)
    report = parsed(run(*command, "--json"))
    assert report == json.loads(json.dumps(expected.to_dict()))
    code, out, _ = run(*command)
    assert code == 0
    assert out.strip() == str(expected).strip()


def test_directions_with_rows(folder, run):
    report = parsed(
        run("directions", folder / "model", folder / "rows.parquet", "--top", 1, "--json")
    )
    end = report["directions"][0]["positive"]
    assert -1 <= end["coherence"] <= 1
    assert len(end["rows"]) == 3
    assert report["coherence"] is not None


# --- embed ----------------------------------------------------------------------------------------


def test_embed(folder, run):
    out = folder / "vectors.parquet"
    report = parsed(
        run("embed", folder / "model", "--out", out, "--samples", 60, "--seed", 4, "--json")
    )
    e = embeddings(load(folder / "model"), samples=60, seed=4)
    assert report == {
        "out": str(out),
        "features": 10,
        "components": 3,
        "metric": e.metric,
        "context": [],
        "seed": 4,
    }
    assert pl.read_parquet(out).equals(e.frame())


def test_embed_in_a_context_as_word2vec_text(folder, run):
    out = folder / "vectors.txt"
    code, printed, _ = run("embed", folder / "model", "--out", out, "--context", "boat,wave")
    assert code == 0
    e = embeddings(load(folder / "model"), ["boat", "wave"])
    assert printed.strip() == f"10 features × 3 components, best compared by {e.metric}: {out}"
    lines = out.read_text().splitlines()
    assert lines[0] == "10 3"
    assert [line.split()[0] for line in lines[1:]] == [*WORDS[:9], "new_york"]


# --- trouble --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["neighbors", "model", "baot"], "Did you mean 'boat'"),
        (["neighbors", "model", "boat", "--context", "wave,pna"], "Did you mean 'pan'"),
        (["neighbors", "model", "boat", "--context", "wave,,pan"], "commas between"),
        (["neighbors", "model", "boat", "--context", ""], "commas between"),
        (["neighbors", "model", "boat", "--context", "pan", "--count", "0"], "above 0"),
        (["neighbors", "model", "boat", "-k", "0"], "-k"),
        (["neighbors", "model", "boat", "--metric", "manhattan"], "manhattan"),
        (["neighbors", "model", "boat", "--plot", "x.bmp"], "x.bmp"),
        (["neighbors", "absent", "boat"], "not a saved model"),
        (["neighbors", "model"], "FEATURE"),
        (["spectrum", "absent"], "not a saved model"),
        (["spectrum", "model", "--against", "absent"], "not a saved model"),
        (["spectrum", "model", "--plot", "x.bmp"], "x.bmp"),
        (["spectrum", "model", "absent.parquet"], "absent.parquet"),
        (["spectrum", "model", "--of", "odds"], "odds"),
        (["directions", "absent"], "not a saved model"),
        (["directions", "model", "--top", "0"], "--top"),
        (["directions", "model", "absent.parquet"], "absent.parquet"),
        (["embed", "model", "--out", "vectors.npz"], "vectors.npz"),
        (["embed", "model"], "--out"),
        (["embed", "absent", "--out", "vectors.csv"], "not a saved model"),
        (["embed", "model", "--out", "vectors.csv", "--context", "baot"], "Did you mean 'boat'"),
    ],
)
def test_bad_usage_and_input_exit_with_2(folder, run, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    code, out, err = run(*arguments)
    assert code == 2, err
    assert message in err
    assert out == ""
    assert sorted(folder.iterdir()) == before


def test_a_file_that_cannot_be_written_exits_with_2(folder, run):
    below = folder / "model" / "config.json"
    code, out, err = run("embed", folder / "model", "--out", below / "vectors.csv")
    assert (code, out) == (2, "")
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boat,pan", ["boat", "pan"]),
        ("a,b", ["a,b"]),  # no feature a, but one of this name
        ("a\\,b,boat", ["a,b", "boat"]),
        ('"a,b",boat', ["a,b", "boat"]),
        ('boat, "a,b"', ["boat", "a,b"]),
        ("new york , boat", ["new york", "boat"]),
        ('say ""hi""', ['say ""hi""']),
        ("pan,oven", ["pan", "oven"]),  # parts that are features come first
    ],
)
def test_features_of_a_context(text, words):
    known = Vocabulary([*WORDS, 'say ""hi""', "pan,oven"])
    assert _words(text, known) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("boat,rudder", "Unknown feature 'rudder'.*double quotes: --context '\"a, b\",c'"),
        ("rudder", "Unknown feature 'rudder'"),
    ],
)
def test_an_unknown_feature_of_a_context(text, message):
    with pytest.raises(DataError, match=message) as told:
        _words(text, Vocabulary(WORDS))
    assert ("double quotes" in str(told.value)) == ("," in text)


def test_contexts_that_read_alike_are_told_apart(run, tmp_path):
    names = ["boat", "wave", "boat, wave", "pan", "oven"]
    counts = np.random.default_rng(0).poisson(1.0, (40, 5)) + 1
    rows = CountMatrix.from_any(counts, vocabulary=names)
    small(epochs=1).fit(rows).save(tmp_path / "model")
    contexts = ["--context", "boat,wave", "--context", '"boat, wave"']
    told = parsed(run("neighbors", tmp_path / "model", "pan", *contexts, "--json"))
    assert [one["context"] for one in told["neighbors"]] == [["boat", "wave"], ["boat, wave"]]


@pytest.mark.parametrize("text", ["", ",", "boat,", '"', "boat\nsail,x"])
def test_a_context_without_a_feature(text):
    with pytest.raises((typer.BadParameter, DataError)):
        _words(text, Vocabulary(WORDS))


def test_as_a_user_runs_it(folder):
    done = subprocess.run(
        [sys.executable, "-m", "longtail", "neighbors", folder / "model", "boat", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["feature"] == "boat"


@pytest.mark.parametrize("command", ["neighbors", "spectrum", "directions", "embed"])
def test_help_shows_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: longtail {command}" in out
