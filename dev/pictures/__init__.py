"""The pictures of the documents, drawn from the definition and from real runs."""
