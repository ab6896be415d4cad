"""The client: it knows the wire, and nothing of the server."""
