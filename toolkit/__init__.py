"""Parts shared by the commands of operators (`ops`) and of developers (`dev`). Imports nothing of the repository."""
