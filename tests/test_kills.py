"""Work that is killed at random moments and run again ends like work that was not killed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from killing import WORK

KILLS = 4


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    program = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("killing.py"))]
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run([*program, str(folder), str(KILLS), *WORK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {row["kind"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kind", WORK)
def test_killed_work_ends_like_work_that_was_not(kind: str, compared: dict[str, dict[str, Any]]) -> None:
    row = compared[kind]
    assert row["kills"] >= KILLS
    assert row["ends"] >= 1
    assert not row["differing"], row
