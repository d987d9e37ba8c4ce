"""Work in threads, so that the window stays fluid."""
