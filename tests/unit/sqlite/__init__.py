"""Tests of the SQLite dialect and of what the catalog does with it. Only these may use SQLite directly."""
