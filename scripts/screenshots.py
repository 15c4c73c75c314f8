"""Takes the README's two pictures from a running UI: the lineage of a table, and a partition of the quarantine.

    DATALAKE_DATA=data .venv/bin/python scripts/screenshots.py

It starts the web server itself on a free port, over the lake of DATALAKE_DATA (run `make demo` before), and needs a
chromium: Debian's by default, another by `--browser`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, ViewportSize, sync_playwright

from datalake_assets.instance import home
from resources.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
IMAGES = PROJECT / "docs" / "images"
SIZE: ViewportSize = {"width": 1600, "height": 1200}  # the whole graph and the whole table fit
START_SECONDS = 180
WAIT_MS = 90_000
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lineage", default="mortgage/service/county_lending", help="asset of the lineage")
    parser.add_argument("--quarantine", default="mortgage/exceptions/lar", help="asset of the quarantine partition")
    parser.add_argument("--browser", default="/usr/bin/chromium", help="chromium to use")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of the pictures")
    asked = parser.parse_args()
    asked.images.mkdir(parents=True, exist_ok=True)
    with web_server(Settings.from_environment()) as url, sync_playwright() as playwright:
        partition = latest_partition(url, asked.quarantine)
        if partition is None:
            print(f"{asked.quarantine} has no partition yet: run the pipeline before", file=sys.stderr)
            return 1
        browser = playwright.chromium.launch(executable_path=asked.browser, args=QUIET)
        page = browser.new_page(viewport=SIZE, device_scale_factor=1)
        lineage(page, url, asked.lineage)
        page.screenshot(path=asked.images / "lineage.png")
        quarantine_partition(page, url, asked.quarantine, partition)
        page.screenshot(path=asked.images / "quarantine_partition.png")
        browser.close()
    print(f"{asked.images}/lineage.png, quarantine_partition.png")
    return 0


@contextmanager
def web_server(settings: Settings) -> Iterator[str]:
    """The UI without its daemon, so that nothing runs while the pictures are taken."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("dagster-webserver")), "-w", str(PROJECT / "workspace.yaml")]
    env = {**os.environ, "DAGSTER_HOME": str(home(settings))}
    server = subprocess.Popen(  # noqa: S603 - our own program and arguments
        [*command, "-h", "127.0.0.1", "-p", str(port)], cwd=PROJECT, env=env, stdout=sys.stderr
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/server_info"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the web server did not start within {START_SECONDS} s; its output says why")
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
            return True
    except (urllib.error.URLError, TimeoutError):
        return False


def latest_partition(url: str, asset: str) -> str | None:
    """The partition of the asset's last materialisation."""
    query = """query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
      ... on AssetNode { assetMaterializations(limit: 1) { partition } } } }"""
    body = json.dumps({"query": query, "variables": {"path": asset.split("/")}}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
        node = json.load(answer)["data"]["assetNodeOrError"]
    found = node.get("assetMaterializations") or []
    return str(found[0]["partition"]) if found else None


def lineage(page: Page, url: str, asset: str) -> None:
    page.goto(f"{url}/assets/{asset}?view=lineage&lineageScope=upstream&lineageDepth=5", timeout=WAIT_MS)
    page.get_by_text(asset.rpartition("/")[2], exact=True).first.wait_for(timeout=WAIT_MS)
    settle(page)


def quarantine_partition(page: Page, url: str, asset: str, partition: str) -> None:
    page.goto(f"{url}/assets/{asset}?view=partitions&partition={quote(partition)}", timeout=WAIT_MS)
    page.get_by_text("records_by_rule").first.wait_for(timeout=WAIT_MS)
    settle(page)


def settle(page: Page) -> None:
    """The graph is laid out by a worker and fades in; the network is never idle, because the page polls."""
    page.wait_for_timeout(6_000)


if __name__ == "__main__":
    raise SystemExit(main())
