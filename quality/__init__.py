"""What every table promises, and how the promise is checked and shown."""
