"""Every state of the definition, tested alone by Step Functions' TestState API with mocked results."""
