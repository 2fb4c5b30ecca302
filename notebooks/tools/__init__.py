"""What keeps the course in step: pair, run and render the notebooks."""
