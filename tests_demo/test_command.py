"""`pinhole demo`, as it is typed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(browser, tmp_path, ending):
    command = [sys.executable, "-m", "pinhole", "demo", "--port", "0", "--device", "cpu"]
    command += ["--methods", "sample", "divprune"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        url = process.stdout.readline().removeprefix("open ").strip()
        assert url.startswith("http://127.0.0.1:"), url
        assert process.stdout.readline() == "Ctrl-C stops it\n"
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("pinhole-demo-")]
        page = browser.new_page()
        page.goto(url)
        expect(page.locator("#method input")).to_have_value("Sample", timeout=60_000)
        page.close()
        process.send_signal(ending)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "stopped\n"), err
    assert "Traceback" not in err
    assert not [path.name for path in Path(tmp_path).iterdir() if path.name.startswith("pinhole-demo-")]
