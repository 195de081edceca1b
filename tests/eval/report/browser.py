"""A real browser's view of a page, through its command line: no driver, no network. Test-only."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# What is measured of a page in a frame; its answer is a JSON object.
MEASURE = """
function luminance(c) {
  const f = c.map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
}
function color(text) { return text.match(/[0-9.]+/g).map(Number); }
function ground(element) {
  for (let e = element; e; e = e.parentElement) {
    const c = color(e.ownerDocument.defaultView.getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
  }
  return [255, 255, 255];
}
function measure(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
  const beyond = [], faint = [], small = [];
  for (const element of page.querySelectorAll("main *")) {
    const box = element.getBoundingClientRect(), style = view.getComputedStyle(element);
    if (!box.width || style.display === "none") continue;
    const name = element.tagName + " " + element.textContent.trim().slice(0, 40);
    // What scrolls within its own box may be wider than the page.
    if ((box.right > root.clientWidth + 0.5 || box.left < -0.5) && !element.closest(".wide"))
      beyond.push(name);
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own) continue;
    const a = luminance(color(style.color)), b = luminance(ground(element));
    if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) faint.push(name);
    if (parseFloat(style.fontSize) < 11) small.push(name);
  }
  return {
    width: root.clientWidth, scrolled: root.scrollWidth, beyond, faint, small,
    ground: ground(page.querySelector("main")),
    pictures: [...page.querySelectorAll("picture")].map(p => {
      const image = p.querySelector("img");
      const chosen = [...p.querySelectorAll("source")].find(s => s.srcset === image.currentSrc);
      return {loaded: image.complete && image.naturalWidth > 0, media: chosen ? chosen.media : ""};
    }),
    fetched: view.performance.getEntriesByType("resource")
      .map(e => e.name).filter(n => !n.startsWith("data:")),
  };
}
window.onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(measure);
  document.querySelector("#found").textContent = JSON.stringify(found);
};
"""


def browser() -> str:
    """Path of a Chromium; skips the test where there is none, unless LENGTHWISE_BROWSER asks for
    one: there its absence fails."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("LENGTHWISE_BROWSER"):
            pytest.fail("LENGTHWISE_BROWSER is set, but no Chromium is on PATH")
        pytest.skip("no Chromium on PATH (Debian, Ubuntu: apt install chromium)")
    return found


def look_at(page, widths, *, dark, tmp_path):
    """What MEASURE finds of a page at each width in CSS pixels, in light or dark."""
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="border:0;width:{n}px;height:900px"></iframe>'
        for n in widths
    )
    wrapper = tmp_path / "frames.html"
    wrapper.write_text(f'<pre id="found"></pre>{frames}<script>{MEASURE}</script>')
    done = subprocess.run(
        [
            browser(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--allow-file-access-from-files",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the browser answered nothing: {done.stderr[-2000:]}"
    assert found[1], f"nothing was measured: {done.stderr[-2000:]}"
    return json.loads(unescape(found[1]))
