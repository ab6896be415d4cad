"""The contract of a store of objects, and the stores that are held to it."""
