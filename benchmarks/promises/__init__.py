"""What the documentation promises, tried over and over."""
