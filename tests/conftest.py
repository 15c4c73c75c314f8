"""What every test of the suite has: properties are no measure of time, so a busy machine makes none of them fail."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
