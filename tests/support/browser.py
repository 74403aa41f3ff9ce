"""A headless Chromium that opens pages, with WebGL in software and, but for pages that are served, the network off."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from launch import absent

FLAGS = "--headless=new --no-sandbox --disable-dev-shm-usage --hide-scrollbars --force-color-profile=srgb"
# On every machine the same, and without a GPU's compositor, as where there is no GPU.
SOFTWARE = "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --disable-gpu-compositing"
HARMLESS = "GPU stall due to ReadPixels"  # what software GL says of every copy


def programs() -> tuple[str, str]:
    """Chromium and its driver, of one package and so of one version; skips the test where they are absent."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        absent("selenium is absent (pip install '.[dev]' in lsweep's clone)")
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(found):
        absent("chromium or chromedriver is absent (apt-get install chromium chromium-driver)")
    return str(found[0]), str(found[1])


class Browser:
    """One Chromium; `open` takes it from page to page, by path or address. `gpu`: it draws with what GL it finds."""

    def __init__(self, downloads: Path, *, gpu: bool = False, offline: bool = True) -> None:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        chromium, driver = programs()
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in [*FLAGS.split(), *([] if gpu else SOFTWARE.split())]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(driver))  # a given path: nothing is fetched
        self.driver.set_script_timeout(120)
        self.command("Network.enable")
        if offline:
            cut = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
            self.command("Network.emulateNetworkConditions", **cut)
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def close(self) -> None:
        self.driver.quit()

    def command(self, name: str, **arguments: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def open(self, page: Path | str, *, width: int = 1000, height: int = 700, dark: bool = False) -> None:
        """Load a page into a window of that size and wait until it has drawn."""
        phone = width < 600
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.move(0, 0)
        self.driver.get(page if isinstance(page, str) else page.resolve().as_uri())
        self.settle()

    def settle(self) -> None:
        """Wait until what was done is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def ask(self, expression: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression; `arguments[k]` are the arguments."""
        return self.driver.execute_script(f"return {expression}", *arguments)

    def move(self, x: float, y: float, **more: Any) -> None:
        """Put the pointer there, in CSS pixels of the window."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **more)

    def press(self, x: float, y: float, *, to: tuple[float, float] | None = None) -> None:
        """Click there, or drag from there."""
        button = {"button": "left", "clickCount": 1}
        self.move(x, y)
        self.command("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, buttons=1, **button)
        for part in (0.5, 1.0) if to else ():
            self.move(x + part * (to[0] - x), y + part * (to[1] - y), buttons=1)  # type: ignore[index]
        end = to or (x, y)
        self.command("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **button)
        self.settle()

    def wheel(self, x: float, y: float, turned: float) -> None:
        self.command("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=turned)
        self.settle()

    def tap(self, x: float, y: float) -> None:
        self.command("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.command("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.settle()

    def keys(self, *keys: str, shift: bool = False) -> None:
        """Press keys, by their names in `KeyboardEvent.key`."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            held = {"key": key, "modifiers": 8 if shift else 0}
            self.command("Input.dispatchKeyEvent", type="keyDown", **held, **text)
            self.command("Input.dispatchKeyEvent", type="keyUp", **held)
        self.settle()

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()
        self.settle()

    def type(self, selector: str, words: str) -> None:
        """Replace what stands in an input, and press Enter."""
        field = self.driver.find_element("css selector", selector)
        self.driver.execute_script("arguments[0].select()", field)  # `clear` would be a change of its own
        field.send_keys(f"{words or chr(0xE017)}\n")  # U+E017 is WebDriver's Delete
        self.settle()

    def picture(self) -> np.ndarray:
        """The window's pixels, (height, width, 3) uint8."""
        return pixels(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """What stands in the console since the page was opened."""
        lines = [entry["message"] for entry in self.driver.get_log("browser")]
        return [line for line in lines if HARMLESS not in line]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]


def pixels(png: bytes) -> np.ndarray:
    """A PNG's pixels, (height, width, 3) uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
