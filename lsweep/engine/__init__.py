"""Runs a sweep: set-up, main loop, exchange between ranks, certificate."""
