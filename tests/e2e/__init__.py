"""Tests of the product from outside: real servers, commands, clients, browsers, kills and faults."""
