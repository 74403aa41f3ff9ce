"""One sweep from set-up to end."""
