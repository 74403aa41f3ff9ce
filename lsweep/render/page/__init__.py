"""Interactive page: sweeps in one HTML file that works offline."""
