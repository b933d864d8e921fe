"""Executions as one page: visits of states from the histories, and the outcomes of files and manifests."""
