"""Hostile names, bad input, and a server that stops."""

from __future__ import annotations

import re
from urllib.parse import quote

from playwright.sync_api import expect

from tests.browser.conftest import HEBREW, HOSTILE, LONG, SCRIPT, open_page


def test_any_name_can_be_asked_and_shown(page):
    """That no name has run as code is what `page` checks."""
    for name in HOSTILE:
        page.goto(f"/#features?feature={quote(name, safe='')}")
        field = page.get_by_role("combobox", name="Feature", exact=True)
        expect(field).to_have_value(name.replace("\n", ""))  # a field has one line
        heading = page.get_by_role("heading", level=2)
        expect(heading).to_contain_text(name[:9].replace("\n", "⏎"))
        expect(page.locator(".panel tbody tr")).to_have_count(12)


def test_hostile_names_do_not_run_in_any_view(page):
    every = "&".join(f"x=1*{quote(name, safe='')}" for name in HOSTILE)
    context = "&".join(f"a={quote(name, safe='')}" for name in HOSTILE[1:])
    for address, ready in (
        (f"/#features?feature={quote(SCRIPT)}&{context}", ".panel tbody tr"),
        (f"/#rows?kind=features&{every}", ".figures"),
        ("/#directions", ".walk li"),
        ("/#spectrum?dimension=0", "h2.chosen"),
        (f"/#recommend?{every}", ".recommended .card"),
    ):
        page.goto(address)
        expect(page.locator(ready).first).to_be_visible()
        expect(page.locator(".note")).to_have_count(0)  # each is known
        for details in page.locator("details").all():
            details.evaluate("node => { node.open = true; }")
    page.goto("/#rows?kind=features&x=1*word1")
    expect(
        page.get_by_text(f"row 0 {SCRIPT}").or_(page.get_by_text(SCRIPT).first).first
    ).to_be_visible()
    assert page.locator("main script, main img").count() == 0


def test_long_names_are_cut_and_others_isolated(page):
    page.goto("/")
    field = page.get_by_role("combobox", name="Feature", exact=True)
    field.fill(LONG)
    option = page.get_by_role("option")
    expect(option).to_have_count(1)
    expect(option).to_contain_text("…")
    expect(option).to_contain_text("(10,000 characters)")
    field.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_contain_text("endlessxxx")
    page.goto(f"/#recommend?x=1*{quote(HEBREW)}")
    expect(page.locator(f".chip bdi:text-is('{HEBREW}')")).to_be_visible()


BAD = {
    "/#features?feature=kernal": "Did you mean 'Kernel', 'kernel'?",
    "/#features?feature=word1&a=nonsense": "knows no feature of this context",
    "/#rows?text=nonsense": "knows none of the features",
    "/#rows?text=!!!": "no token in these rows",
    "/#rows?kind=features&x=99999999*word1": "16777216",
    "/#directions?rank=99": "There are directions 1 to",
    "/#spectrum?dimension=99": "There are dimensions 0 to 3",
    "/#recommend?x=1*nonsense": "knows none of the features",
}


def test_bad_input_gets_a_clear_message(page):
    for address, said in BAD.items():
        page.goto(address)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(said)
        expect(alert).not_to_contain_text("GET /api")


def test_addresses_that_mean_little_show_a_view(page):
    for address in (
        "/#nothing",
        "/#features?a=&b=&k=x",
        "/#rows?x=0*a&steps=many",
        "/#directions?at=far&rank=-3",
    ):
        page.goto(address)
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_slow_answer_shows_progress_and_can_be_stopped(page):
    page.route("**/api/posterior", lambda route: None)  # never answered
    page.goto("/#rows?text=word1")
    expect(page.locator(".progress")).to_contain_text(re.compile(r"Refining with .* \d\.\d s"))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".progress")).to_be_hidden()
    page.unroute("**/api/posterior")
    page.get_by_role("button", name="Infer").click()
    expect(page.locator(".figures")).to_be_visible()


def test_a_busy_server_is_asked_again(page):
    asked = []

    def busy_once(route):
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
        else:
            body = '{"error": {"message": "Too many rows wait; ask again.", "faults": []}}'
            route.fulfill(status=503, body=body, headers={"retry-after": "1"})

    page.route("**/api/recommend", busy_once)
    page.goto("/#recommend?x=1*word1")
    expect(page.locator(".progress")).to_contain_text("The server is busy; asking again.")
    expect(page.locator(".recommended .card")).to_have_count(10)
    assert len(asked) == 2


def test_a_server_that_stops_in_mid_request_is_told(browser, doomed):
    page, _ = open_page(browser, doomed.url)
    page.goto("/#rows?text=word1")
    expect(page.locator(".figures")).to_be_visible()
    # The request leaves only when the server has stopped: the answer cannot come first.
    page.route("**/api/posterior", lambda route: (doomed.stop(), route.continue_()))
    page.get_by_label("Text", exact=True).fill("word2")
    page.get_by_role("button", name="Infer").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("server does not answer")
    expect(alert).to_contain_text("longtail explore")
    expect(page.locator(".figures")).to_be_visible()  # the last answer is still there
    page.unroute("**/api/posterior")
    page.get_by_role("button", name="Try again").click()
    expect(alert).to_contain_text("server does not answer")
    page.close()
