"""Commands of the shell: flags, config files, help, and how errors end them."""
