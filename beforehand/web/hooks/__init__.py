"""What providers tell us: each in its own module, its validators first."""
