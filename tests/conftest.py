"""Configuration and fixtures for all tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.waiting import TimeSkipper

pytest_plugins = [
    "tests.control_plane.fixtures",
    "tests.isolation",
    "tests.skip_summary",
    "tests.tui.idle_plugin",
]

# No result depends on speed or on random generation. In particular, the first example in a fresh
# clone is slow: Hypothesis builds its table of Unicode characters.
for _name, _examples, _steps in (("quick", 30, 30), ("thorough", 300, 60)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        stateful_step_count=_steps,
        deadline=None,
        database=DirectoryBasedExampleDatabase(Path(__file__).parents[1] / ".hypothesis/examples"),
        print_blob=True,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
        ],
    )
settings.load_profile(os.environ.get("SERVEDECK_HYPOTHESIS", "quick"))


@pytest.fixture
async def skip_time() -> TimeSkipper:
    """skip_time(seconds) advances the event loop's clock without waiting."""
    return TimeSkipper(asyncio.get_running_loop())
