from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

import longtail.report.page as page_module
from longtail import CountMatrix, NonlinearFactorAnalysis, make_report
from longtail.data import Vocabulary
from longtail.displays import Figure
from longtail.errors import (
    DataError,
    MissingExtraError,
    NotFittedError,
    ParameterError,
    WriteError,
)
from longtail.report.page import escaped_json
from tests.displays.test_report_figures import NASTY
from tests.estimator.models import small, words
from tests.introspection.handmade import learned, named_words

SECTIONS = [
    "data",
    "fit",
    "training",
    "ladder",
    "gap",
    "spectrum",
    "directions",
    "feature_map",
    "ambiguous",
    "row_map",
    "worst",
]
NEED_ROWS = {"ladder", "gap", "row_map", "worst"}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The elements of a page, checked for being well nested."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text, self.scripts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1][1].append(data)
        elif "style" not in self.open:
            self.text.append(data)

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]

    def json(self):
        return {
            attrs["id"]: json.loads("".join(text))
            for attrs, text in self.scripts
            if attrs.get("type") == "application/json"
        }


@cache
def full():
    return make_report(learned(), named_words(40), title="Words", samples=3, refine_steps=5)


@cache
def full_html():
    return full().html()


@cache
def nasty():
    """A model of features, and rows, with every kind of name."""
    names = Vocabulary.saved([*NASTY, "plain", "other"])
    rows = CountMatrix.from_any(words(120), vocabulary=names)
    model = small(epochs=15, features="binary", learning_rate=0.03).fit(rows)
    ids = [name or "nameless" for name in NASTY]
    test = CountMatrix.from_any(words(len(NASTY), tokens=30), row_ids=ids, vocabulary=names)
    return make_report(model, test, title=NASTY[0], samples=2, refine_steps=3, recommend=True)


@cache
def nasty_html():
    return nasty().html()


def test_sections_come_in_order():
    assert [s.name for s in full().sections] == SECTIONS
    page = Page(full_html())
    assert [a["id"] for a in page.all("section")] == SECTIONS
    links = [a["href"] for a in page.all("a") if a["href"] != "#content"]
    assert links == [f"#{name}" for name in SECTIONS]


def test_without_rows_the_others_say_what_to_give():
    report = make_report(learned())
    assert [s.name for s in report.sections] == SECTIONS
    for section in report.sections:
        missing = [b for b in section.blocks if b.kind == "prose" and b.tone == "missing"]
        if section.name in NEED_ROWS:
            assert "longtail report MODEL ROWS" in missing[0].text
            assert len(section.blocks) == 1
    assert report.key_figures["rows_scored"] is None
    text = "".join(Page(report.html()).text)
    assert "Example rows are not shown" in text


def test_the_page_asks_for_nothing():
    for text in (full_html(), nasty_html()):
        page = Page(text)
        for tag, attrs in page.elements:
            for name in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
                value = attrs.get(name)
                if value is not None:
                    assert value.startswith(("#", "data:image/svg+xml;base64,")), (tag, value[:80])
            assert not [a for a in attrs if a.startswith("on")]
            assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not re.search(
            r"@import|url\(", "".join(re.findall(r"<style>.*?</style>", text, re.S))
        )
        assert [a for a in page.all("script") if "src" in a] == []


def test_the_policy_allows_the_two_scripts_and_no_request():
    page = Page(nasty_html())
    policy = next(
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    scripts = ["".join(text) for attrs, text in page.scripts if attrs["type"] == "module"]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    }
    assert len(scripts) == 2
    assert set(rules["script-src"].split()) == hashes


def test_names_cannot_break_out():
    text = nasty_html()
    page = Page(text)  # well nested, whatever the names
    kinds = {attrs.get("type") for attrs in page.all("script")}
    assert kinds == {"module", "application/json"}
    assert not [a for a in page.all("img") if a["src"] == "x"]
    assert "<script>alert" not in text
    assert text.count("</script>") == len(page.scripts)
    assert "49" not in re.findall(r"<bdi[^>]*>([^<]*)</bdi>", text)
    seen = "".join(page.text)
    assert "<script>alert(1)</script>" in seen
    assert "{{ 7*7 }}" in seen


def test_names_are_whole_in_titles_up_to_a_bound_and_cut_where_shown():
    page = Page(nasty_html())
    titles = [a["title"] for a in page.all("bdi", "td", "h3") if "title" in a]
    assert any(t == "x" * 500 for t in titles)
    assert max(map(len, titles)) <= 500
    assert max(len(word) for text in page.text for word in text.split()) < 200
    assert nasty_html().count("x" * 501) == 0


def test_names_that_differ_only_in_case_stay_apart():
    table = Page(nasty_html()).json()["table-long_tail"]
    names = [row[table["columns"].index("feature")] for row in table["rows"]]
    assert {"kernel", "Kernel", "KERNEL"} <= set(names)
    assert len(names) == len(NASTY) + 2


def test_names_in_any_script_are_isolated():
    text = nasty_html()
    for name in ("שלום", "مرحبا", "🦄"):
        for before in re.findall(rf"(.{{12}}){name}", text.split("<main")[1]):
            assert re.search(r"[>\"“, ]$", before)
        assert f"<bdi>{name}" in text


def test_json_that_is_safe_in_a_page():
    value = {"</script>": ["<!--", "&amp;", "\u2028\u2029", 'quote"']}
    text = escaped_json(value)
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON"):
        escaped_json({"x": float("nan")})


def test_every_chart_has_a_picture_a_text_and_a_table():
    page = Page(full_html())
    data = page.json()
    assert {*full().figures} == {
        "long_tail",
        "training",
        "ladder",
        "gap",
        "spectrum",
        "feature_map",
        "row_map",
        "row_scores",
    }
    for name, figure in full().figures.items():
        assert isinstance(figure, Figure)
        assert data[f"spec-{name}"]["description"]
        assert data[f"table-{name}"]["columns"] == figure.frame().columns
        assert len(data[f"table-{name}"]["rows"]) == len(figure.frame())
    images = page.all("img")
    assert len(images) == len(full().figures)
    assert all(len(image["alt"]) > 30 for image in images)
    assert len(page.all("details")) >= len(images)


def test_the_page_has_a_structure():
    for text in (full_html(), nasty_html()):
        page = Page(text)
        for tag in ("header", "nav", "main", "footer", "h1", "title"):
            assert len(page.all(tag)) == 1, tag
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
        assert len(ids) == len(set(ids))
        for _, attrs in page.elements:
            for name in ("aria-labelledby",):
                assert attrs.get(name) in (None, *ids)
        assert next(a for t, a in page.elements if t == "html")["lang"] == "en"


def test_looks():
    css = full_html().split("<style>")[1].split("</style>")[0]
    for query in ("prefers-color-scheme: dark", "@media print", "max-width: 480px"):
        assert query in css


def test_sizes():
    assert len(full_html().encode()) < 2_500_000
    assert len(nasty_html().encode()) < 6_000_000


def test_every_figure_names_its_estimator_and_sizes():
    text = " ".join("".join(Page(full_html()).text).split())
    assert "S = 3, M = 5" in text
    assert "S = 3, M = 0" in text
    assert f"{full().key_figures['rows_scored']} rows scored, seed 0" in text
    for name in (
        "unigram floor",
        "ELBO at ψ(x)",
        "ELBO at ψ*",
        "importance-weighted",
        "completion",
    ):
        assert name in text


def test_rows_are_drawn_with_the_seed():
    rows = named_words(60)
    reports = [
        make_report(learned(), rows, max_rows=20, samples=1, refine_steps=2, seed=s)
        for s in (0, 0, 1)
    ]
    ids = [r.figures["row_scores"].frame()["row_id"].to_list() for r in reports]
    assert ids[0] == ids[1] != ids[2]
    assert reports[0].key_figures["rows_given"] == 60
    assert reports[0].key_figures["rows_scored"] == 20
    text = "".join(b.text for b in reports[0].sections[0].blocks if b.kind == "prose")
    assert "drawn at random (seed 0)" in text


def test_the_same_report_twice():
    again = make_report(learned(), named_words(40), title="Words", samples=3, refine_steps=5)
    assert again.html() == full_html()


def test_recommendations_for_models_of_presence():
    assert "recommend" not in [s.name for s in full().sections]
    report = nasty()
    assert report.sections[-1].name == "recommend"
    assert "ranking" in report.figures
    assert report.key_figures["ranking"]["rows"] > 0
    cards = next(b for b in report.sections[-1].blocks if b.kind == "cards").cards
    assert cards
    for card in cards:
        headings = [heading for heading, _ in card.lists]
        assert headings[:2] == ["has", "is recommended"]
        has = {item.name for item in card.lists[0][1]}
        assert not has & {item.name for item in card.lists[1][1]}


@pytest.mark.parametrize(
    ("options", "recommend", "expected"),
    [
        ({}, None, False),
        ({"features": "binary"}, None, True),
        ({"features": "binary"}, False, False),
        ({}, True, True),
    ],
)
def test_who_gets_recommendations(options, recommend, expected):
    model = small(epochs=1, **options).fit(named_words(40))
    report = make_report(model, recommend=recommend)
    assert (report.sections[-1].name == "recommend") == expected


def test_bernoulli():
    rng = np.random.default_rng(0)
    X = (rng.random((60, 15)) < 0.6).astype(float)
    model = small(likelihood="bernoulli", epochs=3).fit(X)
    report = make_report(model, X[:20], samples=2, refine_steps=3)
    assert report.sections[-1].name == "recommend"
    assert "nats a row" in report.html()


def test_rows_too_short_to_hide_an_item():
    model = small(epochs=1).fit(named_words(40))
    one = CountMatrix.from_any(np.eye(20)[:5], vocabulary=model.vocabulary_)
    report = make_report(model, one, recommend=True, samples=2, refine_steps=2)
    assert [b.kind for b in report.sections[-1].blocks] == ["prose"]


@pytest.mark.parametrize("n_rows", [1, 2])
def test_hardly_any_rows(n_rows):
    report = make_report(learned(), named_words(n_rows), samples=2, refine_steps=2)
    Page(report.html())
    assert report.key_figures["rows_scored"] == n_rows


def test_a_model_of_one_dimension_without_validation():
    model = small(n_components=1, decoder_layers=0, validation_fraction=0, epochs=1)
    report = make_report(model.fit(words(30)), words(8), samples=2, refine_steps=2)
    Page(report.html())
    assert report.key_figures["components"] == 1


def test_rows_without_a_known_feature():
    with pytest.raises(DataError, match="None of the 3 rows has a count"):
        make_report(
            learned(), CountMatrix.from_any(np.zeros((3, 20)), vocabulary=learned().vocabulary_)
        )


def test_bad_parameters():
    with pytest.raises(ParameterError, match="max_rows must be a whole number ≥ 1"):
        make_report(learned(), max_rows=0)
    with pytest.raises(NotFittedError):
        make_report(NonlinearFactorAnalysis())


def test_progress_names_the_stages():
    stages = {}
    make_report(
        learned(),
        named_words(20),
        samples=1,
        refine_steps=1,
        progress=lambda stage, done, total: stages.update({stage: done == total}),
    )
    assert {"bounds", "directions", "ambiguous features", "maps"} <= stages.keys()
    assert all(stages.values())


def test_saving(tmp_path):
    path = full().save(tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == full_html()
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(ParameterError, match=r"written as \.html; got 'page\.pdf'"):
        full().save(tmp_path / "page.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="could not be written"):
        full().save(tmp_path / "file" / "page.html")


def test_figures_as_files(tmp_path):
    written = full().save_figures(tmp_path / "figures")
    assert {p.stem for p in written} == {*full().figures}
    assert all(p.read_text().startswith("<svg") for p in written)
    assert len(list((tmp_path / "figures").glob("*.parquet"))) == len(written)


def test_half_of_a_surrogate_pair_can_be_written(tmp_path):
    report = page_module.Report("\ud83d title", (), {})
    text = report.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>title</title>" in text


def test_in_notebooks():
    html = full()._repr_html_()
    assert html.startswith("<iframe ")
    assert "<script" not in html
    assert "Words" in repr(full())


@pytest.mark.parametrize("module", ["jinja2", "altair", "vl_convert"])
def test_without_the_extra(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install longtail\[report\]"):
        make_report(learned())
