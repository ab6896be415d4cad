"""What the catalog may rely on, held against every dialect."""
