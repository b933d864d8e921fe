"""The audit: the bucket's listing, the rows of the table, and the manifests with their outcomes, compared."""
