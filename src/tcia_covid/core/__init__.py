"""What every other package uses: errors, models, events, cancellation."""
