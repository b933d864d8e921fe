"""What executions did, as one page: histories read as visits of states, and what became of files and manifests."""
