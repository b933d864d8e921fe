"""Measures the cost of the workflow and its growth, beside a monolith that does the same work."""
