"""What keeps the course in step: pair, run and render the notebooks, and the site they stand in."""
