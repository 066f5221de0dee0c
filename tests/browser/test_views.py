"""The main paths through the explorer."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

ANSWERED = re.compile(r"bound is .* nats")


def choose(page: Page, label: str, typed: str, name: str | None = None) -> None:
    """Type into a field, and take a suggestion by mouse."""
    page.get_by_role("combobox", name=label, exact=True).fill(typed)
    options = page.get_by_role("option")
    options.filter(has=page.get_by_text(name or typed, exact=True)).first.click()


def neighbors(page: Page) -> list[str]:
    """What the first table of neighbours lists."""
    expect(page.locator("tbody tr").first).to_be_visible()
    return page.locator(".panel").first.locator("tbody td.named .name").all_inner_texts()


def test_a_visitor_is_told_what_to_do(page):
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Features")
    expect(page.get_by_text("For a start")).to_be_visible()
    expect(page.locator("#model")).to_contain_text("24 features, 4 latent dimensions")


def test_a_feature_is_found_with_the_keyboard_alone(page):
    page.goto("/")
    field = page.get_by_role("combobox", name="Feature", exact=True)
    field.focus()
    page.keyboard.type("word1")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("option", selected=True).locator(".name").inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_contain_text(chosen)
    expect(page).to_have_url(re.compile(f"feature={chosen}"))
    assert len(neighbors(page)) == 12


def test_names_that_differ_only_in_case_stay_two(page):
    page.goto("/")
    page.get_by_role("combobox", name="Feature", exact=True).fill("KERNEL")
    expect(page.get_by_role("option")).to_have_count(2)
    choose(page, "Feature", "kernel")
    expect(page.get_by_role("heading", level=2)).to_contain_text("kernel")
    assert "Kernel" in neighbors(page)


def test_context_moves_the_neighbours_and_back_restores_them(page):
    page.goto("/#features?feature=word1")
    before = neighbors(page)
    choose(page, "Context", "word2")
    expect(page.get_by_role("heading", level=2)).to_contain_text("with word2")
    after = neighbors(page)
    assert after != before
    assert "word2" not in after
    page.go_back()
    expect(page.get_by_role("heading", level=2)).to_contain_text("without context")
    assert neighbors(page) == before
    page.go_forward()
    expect(page.get_by_role("heading", level=2)).to_contain_text("with word2")
    page.get_by_role("button", name="Remove ⁨word2⁩").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("without context")


def test_a_click_in_the_picture_goes_to_a_neighbour(page):
    page.goto("/#features?feature=word1")
    expect(page.locator(".point.near")).to_have_count(12)
    point = page.locator(".point.near", has=page.locator("title:text-is('word2')"))
    point.locator("circle").click(force=True)  # others may lie over it
    expect(page.get_by_role("heading", level=2)).not_to_contain_text("word1")
    page.go_back()
    expect(page.get_by_role("heading", level=2)).to_contain_text("word1")


def test_the_picture_moves_unless_one_wants_calm(browser, server):
    for motion, moving in (("no-preference", 1), ("reduce", 0)):
        page = browser.new_page(base_url=server.url, reduced_motion=motion)
        page.goto("/#features?feature=word1")
        expect(page.locator(".point.near")).to_have_count(12)
        choose(page, "Context", "word2")
        expect(page.locator(".point.gone").first).to_be_attached()
        expect(page.locator("svg.moving")).to_have_count(moving)
        page.close()


def test_two_contexts_are_compared_side_by_side(page):
    page.goto("/#features?feature=word1&a=word2")
    neighbors(page)
    page.get_by_label("Compare two contexts").check()
    choose(page, "Second context", "word3")
    headings = page.get_by_role("heading", level=2)
    expect(headings.nth(1)).to_contain_text("with word3")
    expect(headings.nth(0)).to_contain_text("with word2")
    boxes = [page.locator(".panel").nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    url = page.url
    page.goto("about:blank")
    page.goto(url)
    expect(headings.nth(1)).to_contain_text("with word3")
    expect(page.get_by_label("Compare two contexts")).to_be_checked()


def test_a_text_is_inferred_and_explained(page):
    page.goto("/#rows")
    page.get_by_label("Text", exact=True).fill("word1 word2 word2 kernel nonsense")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#live")).to_have_text(ANSWERED)
    expect(page.locator(".note")).to_contain_text("nonsense")
    for heading in ("Refinement, step by step", "Most probable features", "What is missing"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    first = page.locator("details.card").first
    first.locator("summary").click()
    expect(first.get_by_role("row", name="word2")).to_be_visible()
    nearest = page.locator(".part", has=page.get_by_role("heading", name="Nearest rows"))
    expect(nearest.locator("tbody tr")).to_have_count(5)
    url = page.url
    page.goto("about:blank")
    page.goto(url)
    expect(page.locator("#live")).to_have_text(ANSWERED)
    expect(page.get_by_label("Text", exact=True)).to_have_value("word1 word2 word2 kernel nonsense")


def test_features_of_a_row_are_picked_and_counted(page):
    page.goto("/#rows?kind=features")
    choose(page, "Features of the row", "word1")
    expect(page.locator("#live")).to_have_text(ANSWERED)
    page.get_by_label("Count of ⁨word1⁩").fill("3")
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile(r"x=3\*word1"))
    expect(page.locator(".figures")).to_contain_text("3 counts in all")
    page.get_by_label("Refinement: gradient evaluations").fill("0")
    page.keyboard.press("Tab")
    expect(page.locator(".figures")).to_contain_text("0.00 nats")


def test_the_slider_changes_probabilities_by_keyboard(page):
    page.goto("/#directions?rank=1")
    slider = page.get_by_role("slider")
    expect(slider).to_be_enabled()
    shown = page.locator(".walk li .number:nth-of-type(3)")
    middle = shown.all_inner_texts()
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("output")).to_have_text("3.00 standard deviations")
    end = shown.all_inner_texts()
    assert end != middle
    expect(page).to_have_url(re.compile("at=3"))
    url = page.url
    page.goto("about:blank")
    page.goto(url)
    expect(slider).to_be_enabled()
    assert shown.all_inner_texts() == end


def test_a_dimension_is_selected_in_all_charts(page):
    page.goto("/#spectrum")
    charts = page.get_by_role("slider", name="Latent dimension")
    expect(charts.locator("svg")).to_have_count(3)
    charts.locator(".hit").nth(1).click(position={"x": 5, "y": 60})
    chosen = page.get_by_role("heading", name="Dimension z")
    expect(chosen).to_be_visible()
    expect(charts.locator("rect.chosen")).to_have_count(3)
    first = chosen.inner_text()
    expect(page.get_by_role("heading", name="Rows furthest this way")).to_have_count(2)
    charts.focus()
    page.keyboard.press("ArrowRight")
    expect(chosen).not_to_have_text(first)
    page.get_by_role("link", name="Walk along this dimension").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Directions")
    expect(page.get_by_role("slider")).to_be_enabled()
    page.go_back()
    expect(chosen).not_to_have_text(first)


def test_items_are_recommended_with_reasons(page):
    page.goto("/#recommend")
    choose(page, "Has already", "word1")
    cards = page.locator(".recommended .card")
    expect(cards).to_have_count(10)
    expect(page.locator(".reasons").first).to_contain_text("word1")
    assert "word1" not in cards.locator("h3").all_inner_texts()
    cards.first.get_by_role("button").click()
    expect(page.locator(".chip")).to_have_count(2)
    page.go_back()
    expect(page.locator(".chip")).to_have_count(1)


@pytest.mark.parametrize("view", ["rows", "recommend"])
def test_an_example_is_at_hand(page, view):
    page.goto(f"/#{view}")
    page.get_by_role("button", name="Try an example").click()
    expect(page.locator(".content h2, .content h3").first).to_be_visible()


def test_views_keep_what_they_show(page):
    page.goto("/#features?feature=word1")
    neighbors(page)
    page.get_by_role("link", name="Spectrum").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator(".verdict")).to_be_visible()
    page.get_by_role("link", name="Features").click()
    assert len(neighbors(page)) == 12
    assert page.title() == "Features · longtail explorer"


def test_nothing_sticks_out_on_a_phone(browser, server):
    page = browser.new_page(base_url=server.url, viewport={"width": 360, "height": 740})
    for address, ready in (
        ("/#features?feature=word1&a=word2&b=word3&compare=1", ".panel tbody tr"),
        ("/#rows?text=word1+word2", ".figures"),
        ("/#directions", ".walk li"),
        ("/#spectrum?dimension=1", "h2.chosen"),
        ("/#recommend?x=1*word1", ".recommended .card"),
    ):
        page.goto(address)
        expect(page.locator(ready).first).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, address
    page.close()
