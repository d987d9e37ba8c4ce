"""From an array to a file: options, the choice of a method, blocks, and jobs that can be resumed."""
