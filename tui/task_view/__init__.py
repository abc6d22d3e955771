"""Parts of the screen of one task of an async queue."""
