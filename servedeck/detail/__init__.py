"""One serving while its page is open or it is described: whole objects, Events, revisions."""
