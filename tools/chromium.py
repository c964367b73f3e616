"""A page in a headless Chromium, over a pipe of its own: asked, drawn, printed, and read by axe-core.

    python -m tools.chromium report.html --axe axe.min.js --pictures looks

draws the page on a desktop and on a phone, light and dark, and as printed, and says what axe-core finds where that is
given (``npm pack axe-core``; it is not part of this project). Exit code 1 when it finds something serious.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"desktop": (1280, 900), "tablet": (760, 1000), "phone": (390, 844)}
SCHEMES = ("light", "dark")
SERIOUS = ("serious", "critical")


def find_chromium() -> str | None:
    """The browser's program; None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """What axe-core says of one element."""

    rule: str
    impact: str
    where: str
    text: str


class Page:
    """A page of a running browser, spoken to in the DevTools protocol (flattened sessions)."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = os.fdopen(to, "wb", buffering=0), os.fdopen(back, "rb", buffering=0)
        self._number, self._rest, self._session = 0, b"", ""
        self._events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.enable")
        self.send("Runtime.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers. RuntimeError: it refuses."""
        self._number += 1
        said = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            said["sessionId"] = self._session
        self._to.write(json.dumps(said).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._back.fileno(), 1 << 20)
            if not more:
                raise RuntimeError("the browser has gone")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def open(self, path: Path, size: str = "desktop", scheme: str = "light") -> None:
        """Opens a file at a size and in a scheme of colours, and waits until it is there."""
        width, height = SIZES[size]
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == "phone",
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(each.get("method") == "Page.loadEventFired" for each in self._events):
            self._events.append(self._read())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited. RuntimeError: it throws."""
        said = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(said["exceptionDetails"].get("exception", {}).get("description", "it throws"))
        return said["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key, e.g. ``Tab``."""
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13, "ArrowRight": 39}[key]
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 15000), "scale": 1}
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def print(self, path: Path) -> None:
        """The page as PDF, with backgrounds only where the page itself asks for them."""
        path.write_bytes(base64.b64decode(self.send("Page.printToPDF", preferCSSPageSize=True)["data"]))

    def axe(self, script: Path) -> list[Finding]:
        """What axe-core finds on the page with everything unfolded."""
        self.ask("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        self.ask(script.read_text(encoding="utf-8"))
        found = self.ask("axe.run(document, {resultTypes: ['violations']}).then((it) => JSON.stringify(it.violations))")
        return [
            Finding(rule["id"], rule["impact"] or "minor", " ".join(map(str, node["target"])), node["failureSummary"])
            for rule in json.loads(found)
            for node in rule["nodes"]
        ]


@contextmanager
def chromium() -> Iterator[Page]:
    """A browser of its own with an empty page; gone afterwards."""
    program = find_chromium()
    if program is None:
        raise RuntimeError(f"none of {', '.join(BROWSERS)} is installed")
    ours, theirs = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]
        # It reads from descriptor 3 and writes to 4, whatever the pipes are numbered here.
        line = f'exec 3<&{ours[0]} 4>&{theirs[1]}; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", line, "chromium", *words],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        try:
            yield Page(ours[1], theirs[0])
        finally:
            process.kill()
            process.wait()


def main() -> int:
    """Looks at pages; see above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    parser.add_argument("--pictures", type=Path, help="folder for what the pages look like")
    chosen = parser.parse_args()
    bad = 0
    with chromium() as page:
        for path in chosen.pages:
            for size in SIZES:
                for scheme in SCHEMES:
                    page.open(path, size, scheme)
                    name = f"{path.parent.name}-{path.stem}-{size}-{scheme}"
                    wide = page.ask("document.documentElement.scrollWidth - innerWidth")
                    if chosen.pictures:
                        chosen.pictures.mkdir(parents=True, exist_ok=True)
                        page.picture(chosen.pictures / f"{name}.png")
                    found = page.axe(chosen.axe) if chosen.axe else []
                    print(f"{name}: {len(found)} findings" + f", {wide} px too wide" * (wide > 0))
                    bad += any(each.impact in SERIOUS for each in found) or wide > 0
                    for each in found:
                        print(f"  {each.impact} {each.rule} {each.where}\n    {' '.join(each.text.split())}")
            if chosen.pictures:
                page.print(chosen.pictures / f"{path.parent.name}-{path.stem}.pdf")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
