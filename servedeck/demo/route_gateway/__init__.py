"""The gateway of a live demo: it listens on this machine, and sends requests where the HTTPRoutes
say."""
