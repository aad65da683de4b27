"""The page in a browser: offline, without errors, on a desk and on a phone."""

import shutil

import numpy as np
import pytest

pytest.importorskip("playwright")
pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

import imageio_ffmpeg
from playwright import sync_api

from rllib_sami.evaluation import report

from ..synthetic import cheetah

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]

EACH = 10  # videos of each of two splits


def _record(file, size, seed):
    """Writes one second of noise as H.264: large if the frames are."""
    rng = np.random.default_rng(seed)
    writer = imageio_ffmpeg.write_frames(str(file), size, fps=20, macro_block_size=1)
    writer.send(None)
    for _ in range(20):
        writer.send(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8).tobytes())
    writer.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    videos = []
    for number, (split, success, size) in enumerate([("train", True, (64, 48)), ("extreme", False, (400, 300))]):
        file = folder / f"{split}.mp4"
        _record(file, size, number)
        videos += [
            {"run": "SaCCM seed 0", "algorithm": "SaCCM", "split": split, "task_id": task, "episode": 0, "kind": "best",
             "return": 1.0, "success": success, "skill": "flip", "file": str(file)}
            for task in range(EACH)
        ]  # fmt: skip
    results = cheetah()
    results.provenance["videos"] = videos
    return report(results, folder / "report")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, page_file):
    """Opens the page offline; afterwards fails on any error or any request that left the machine."""
    opened, complaints = [], []

    def open_page(width=1280, scheme="light", scripts=True):
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, offline=True, java_script_enabled=scripts)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:"))
                or complaints.append(request.url))  # fmt: skip
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:99]}"))
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in opened:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_shows_each_figure_once(open_page, width, scheme):
    page = open_page(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("html").get_attribute("data-theme") == scheme
    figures = page.locator("figure.plot").count()
    assert figures > 6
    assert page.locator(f"img.for-{scheme}:visible").count() == figures
    assert page.locator("figure.plot img:visible").count() == figures
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 100)")
    # Texts stay inside their boxes, except for tables and wide figures, which scroll.
    outside = page.evaluate(
        """(width) => [...document.querySelectorAll("h1, h2, h3, p, figcaption, select, button, summary, dd, nav")]
            .filter((box) => box.getBoundingClientRect().right > width + 1).map((box) => box.outerHTML.slice(0, 99))""",
        width,
    )
    assert outside == []


def test_theme_can_be_switched(open_page):
    page = open_page(scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.click("#theme")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(background) != before
    assert page.locator("img.for-light:visible").count() == 0


def test_contents_lead_to_every_section(open_page):
    page = open_page()
    links = page.locator("nav a")
    assert links.count() == page.locator("main section").count() == 10
    links.last.click()
    page.wait_for_function("() => document.querySelector('#provenance').getBoundingClientRect().top < innerHeight")


def test_contents_are_folded_on_a_phone(open_page):
    page = open_page(width=390)
    assert not page.locator("nav a").first.is_visible()
    page.click("nav summary")
    assert page.locator("nav a").first.is_visible()


def test_videos_play(open_page):
    page = open_page()
    videos = page.locator("video")
    sources = [videos.nth(number).get_attribute("src") for number in range(2)]
    assert [source[:5] for source in sources] == ["data:", "video"]  # the large one lies beside the page
    for number in range(2):
        videos.nth(number).evaluate("(video) => video.play()")
        page.wait_for_function(
            "(number) => document.querySelectorAll('video')[number].currentTime > 0.1", arg=number, timeout=60_000
        )


def test_gallery_shows_twelve_at_once_and_can_be_filtered(open_page):
    page = open_page()
    shown, visible = page.locator("#shown"), page.locator(".gallery figure:visible")
    assert shown.inner_text() == "12 of 20 videos"
    assert visible.count() == 12
    page.click("text=Show 8 more")
    assert (visible.count(), page.locator("#show-more").is_visible()) == (20, False)
    page.select_option("select[name=split]", "extreme")
    assert shown.inner_text() == "10 of 20 videos"
    assert visible.count() == 10
    assert "failure" in visible.first.inner_text()
    page.select_option("select[name=success]", "success")
    assert shown.inner_text() == "0 of 20 videos"
    page.select_option("select[name=split]", "")
    assert shown.inner_text() == "10 of 20 videos"
    page.select_option("select[name=success]", "")
    assert shown.inner_text() == "12 of 20 videos"


def test_without_scripts_the_rest_of_the_videos_is_folded(open_page):
    page = open_page(scripts=False)
    assert page.locator(".gallery figure:visible").count() == 12
    page.click("text=8 more videos")
    assert page.locator(".gallery figure:visible").count() == 20


def test_tables_scroll_inside_their_boxes_on_a_phone(open_page):
    page = open_page(width=390)
    boxes = page.evaluate(
        """() => [...document.querySelectorAll("table")].filter((table) => table.offsetParent).map((table) => {
            const box = table.closest(".scroll");
            box.scrollLeft = 1e6;
            return [table.offsetWidth > box.clientWidth, box.scrollLeft > 0, box.getBoundingClientRect().right];
        })"""
    )
    assert any(wide for wide, *_ in boxes)
    for wide, scrolled, right in boxes:
        assert wide == scrolled
        assert right <= 390
