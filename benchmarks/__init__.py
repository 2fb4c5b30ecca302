"""Timings against peers and against work; see README.md."""
