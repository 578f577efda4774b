"""Where the brain is: on board, or behind a link."""
