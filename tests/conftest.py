"""For all tests: properties are checked without a clock, which a busy machine would fail."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
