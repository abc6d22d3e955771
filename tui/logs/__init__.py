"""The Logs tab, without its keys: what one log holds, how it is read, found in, shown and saved."""
