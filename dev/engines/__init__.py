"""Local engines: Lambda's Invoke API over local processes, and Step Functions Local in Docker."""
