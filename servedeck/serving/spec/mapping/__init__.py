"""Where each field of a spec is in the objects of a serving: how it is read and written."""
