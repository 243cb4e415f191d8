"""The page in a headless Chromium, on the embedded LVLM: `make demo-test`, in an environment of its own."""

from __future__ import annotations

import io
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
_HUB = tempfile.TemporaryDirectory(prefix="pinhole-hub-")
HUB = Path(_HUB.name)
os.environ |= {"HF_HUB_CACHE": str(HUB), "HF_HUB_OFFLINE": "1"}  # read once, when the library is imported

from pinhole.demo.host import Host  # noqa: E402
from pinhole.demo.limits import Limits  # noqa: E402
from pinhole.demo.offers import Offers  # noqa: E402
from pinhole.demo.serve import Address, Serving, serving, warm_up  # noqa: E402
from pinhole.loading import load  # noqa: E402
from pinhole.methods.metacompress import MetaCompress  # noqa: E402
from pinhole.scenes.world import make_scene, render  # noqa: E402
from steps import TURNS  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIETLY = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
PATIENCE = 60_000
"""Milliseconds that the page may take to do anything: many times what it takes on an idle machine."""


expect.set_options(timeout=PATIENCE)  # 5 seconds, unless told


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="write the pictures for docs/demo.md to this folder")


def pytest_configure(config: pytest.Config) -> None:
    if not Path(CHROMIUM).is_file():
        pytest.exit(
            f"no Chromium at {CHROMIUM}: install one (Debian: apt-get install chromium), or name it in CHROMIUM", 2
        )
    config.addinivalue_line("filterwarnings", "ignore::pandas.errors.Pandas4Warning")  # of what Gradio does


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a compressor below it, and another on the hub as far as this machine knows."""
    folder = tmp_path_factory.mktemp("compressors")
    MetaCompress.create(192).save_pretrained(folder / "mine")
    published = HUB / "models--owner--name"
    MetaCompress.create(192, seed=1).save_pretrained(published / "snapshots" / "0")
    (published / "refs").mkdir()
    (published / "refs" / "main").write_text("0")
    return folder


@pytest.fixture(scope="session")
def reached() -> Iterator[list[Any]]:
    """Every address beyond this machine that this process has connected to."""
    found: list[Any] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            found.append(address)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", noted)
        yield found


@pytest.fixture(scope="session")
def embedded() -> tuple[Any, Any]:
    return load("embedded", device="cpu")


@pytest.fixture(scope="session")
def served(embedded: tuple[Any, Any], weights: Path, reached: list[Any]) -> Iterator[Serving]:
    """The page that every test visits."""
    host = Host(*embedded, "embedded", limits=Limits(answer=8, turns=TURNS))
    offers = Offers(host.family, folders=[weights])
    warm_up(host, offers, 0.1)
    with serving(host, offers, Address(port=0).resolved(), 0.1, hub=True, draws=True) as page:
        yield page
    assert not reached, "Gradio called home"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=[*QUIETLY, "--disable-sync"])


@pytest.fixture
def visit(browser: Browser, served: Serving) -> Iterator[Callable[..., Page]]:
    """Opens the page as a new visitor. No request of the page's may leave this machine, and no script may fail."""
    contexts: list[BrowserContext] = []
    outside: list[str] = []
    errors: list[str] = []

    def visit(width: int = 1280, height: int = 900) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        local = (served.url, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(local) else outside.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served.url)
        page.wait_for_selector("#turns[role=log]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not outside
    assert not errors


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of two scenes."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / "mine.png", folder / "other.jpg"]
    for index, path in enumerate(paths):
        render(make_scene("validation", index)).save(path)
    return paths


@pytest.fixture
def screenshot(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Writes what a page shows as a picture for the documentation, where such are wanted."""
    folder = request.config.getoption("--screenshots") or tmp_path

    def screenshot(page: Page, name: str) -> None:
        page.mouse.move(0, 0)
        page.wait_for_timeout(300)  # colours fade
        content = page.screenshot(full_page=True)
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        smoothed = picture.point(lambda value: min(255, (value + 2) // 4 * 4))  # their noise makes files large
        smoothed.save(folder / f"demo_{name}.png", optimize=True)

    return screenshot
