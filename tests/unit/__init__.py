"""Fast tests: no server process, browser or database server. `make test-fast` runs them and the contracts."""
