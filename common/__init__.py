"""What every room uses: errors for users, whole files, settings, progress, the number of cores."""
