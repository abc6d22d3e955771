"""Lists and watches: one reflector for each kind of object."""
