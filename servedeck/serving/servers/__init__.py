"""Inference servers: the table of the known ones, and how a container's image and command line say
which one it runs. Uses plain values only, so the spec's templates and the records' detection have
one reading."""
