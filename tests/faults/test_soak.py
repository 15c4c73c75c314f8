"""A short day of `make soak`: every misbehaviour twice, over both servers, ends as it has to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.soak_agreed import AGREED, EVERY, ONCE
from tests.faults.soak_day import KINDS, day
from tests.landing_servers import SSHD

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
@pytest.mark.parametrize(("files", "feeds"), [(2 * len(KINDS), 2), (6 * EVERY, EVERY)])
def test_a_short_day_ends_without_a_difference(files: int, feeds: int) -> None:
    command = [sys.executable, "-m", "tests.faults.soak", "--files", str(files), "--feeds", str(feeds), "--rounds", "2"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False)
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert last.startswith(f"{files} files, ")
    assert ", 0 differences, " in last


def test_feeds_with_which_more_was_agreed_have_all_their_misbehaviours() -> None:
    made = {story.misbehaviour for story in day(6 * EVERY, EVERY, 2, 1, frozenset()).stories}
    assert {kind for agreed in (*AGREED.values(), *ONCE.values()) for kind in agreed.kinds} <= made


def test_a_day_is_the_same_for_the_same_seed_and_has_every_misbehaviour() -> None:
    first, second = (day(2 * len(KINDS), 2, 3, 7, frozenset({1})) for _ in range(2))
    assert first == second
    assert {story.misbehaviour for story in first.stories} == set(KINDS)
    assert sum(len(own) for acts in first.rounds for own in acts.values()) > len(first.stories)
