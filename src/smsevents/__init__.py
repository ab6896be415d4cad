"""The self-hosted log of SMS delivery events, with one streaming export."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("smsevents")
