"""What a run found, as one HTML file and as a summary for the terminal."""
