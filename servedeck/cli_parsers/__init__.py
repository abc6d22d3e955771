"""The parsers of the subcommands, which `servedeck.cli_parser` puts together."""
