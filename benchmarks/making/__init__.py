"""What the repository holds that a script made."""
