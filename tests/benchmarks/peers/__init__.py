"""Other packages' own code for the same work; each module runs in that package's environment."""
