"""What the workflow costs and how it grows, measured beside a monolith that does the same work."""
