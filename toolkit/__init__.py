"""What the commands of operators and of developers share. It knows nothing of this repository."""
