"""Version: the release that this code is."""

__version__ = "0.2.0"
