"""What runs functions and definition here: Lambda's API over local processes, and Step Functions Local in Docker."""
