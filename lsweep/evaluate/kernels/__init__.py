"""The same function, computed faster."""
