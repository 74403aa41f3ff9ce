"""The interactive page: sweeps into one HTML file that opens without a network."""
