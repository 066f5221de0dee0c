"""A picture of every view, for eyes and for the documentation.

They are written as explorer_*.png to the folder that LONGTAIL_SCREENSHOTS names. To picture a model
that is worth looking at, start its explorer, and name its address in LONGTAIL_EXPLORER.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import open_page

PHONE, DESK = (390, 844), (1200, 1000)
IN_CONTEXT = "features?feature=kernel&a=thread"
COMPARED = "features?feature=kernel&a=thread&b=gaussian&compare=1"
TEXT = "The+kernel+of+a+support+vector+machine+is+gaussian"
VIEWS = {
    "features": (IN_CONTEXT, ".panel tbody tr", DESK, "light"),
    "compare": (COMPARED, ".panel tbody tr", (1200, 1250), "light"),
    "rows": (f"rows?text={TEXT}", ".figures", (1200, 2200), "light"),
    "directions": ("directions?rank=1&at=2", ".walk li", DESK, "light"),
    "spectrum": ("spectrum?dimension=1", "h2.chosen", (1200, 1500), "light"),
    "recommend": ("recommend", ".recommended .card", DESK, "light"),
    "dark": (IN_CONTEXT, ".panel tbody tr", DESK, "dark"),
    "phone": (IN_CONTEXT, ".panel tbody tr", PHONE, "light"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_of_every_view(browser, server, name):
    address, ready, (width, height), scheme = VIEWS[name]
    page, seen = open_page(
        browser,
        os.environ.get("LONGTAIL_EXPLORER") or server.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    page.goto(f"/#{address}")
    if name == "recommend":
        page.get_by_role("button", name="Try an example").click()
    expect(page.locator(ready).first).to_be_visible()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    picture = page.screenshot(animations="disabled")
    page.close()
    assert seen.console == []
    if folder := os.environ.get("LONGTAIL_SCREENSHOTS"):
        Path(folder, f"explorer_{name}.png").write_bytes(picture)
