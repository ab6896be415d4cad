"""Invented events, for the demonstration, benchmarks and tests.

generate.py  a shop's events for a number of days
"""
