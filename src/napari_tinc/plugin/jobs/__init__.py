"""Jobs that run in threads, so that the window stays responsive."""
