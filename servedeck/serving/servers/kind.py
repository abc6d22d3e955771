"""What is known of one kind of inference server."""

from __future__ import annotations

from typing import NamedTuple


class ServerKind(NamedTuple):
    """How a known inference server is recognized, and how its command line is read.

    Flags are written with hyphens and match underscores too (`--http-port`, `--http_port`).
    """

    template: str
    """Its name in the list; for vllm and furiosa-llm also the template of the form."""
    source: str
    """Where its defaults are documented or defined."""
    images: tuple[str, ...] = ()
    """Names of its images: whole parts of the last component of an image's path, which hyphens,
    underscores and dots separate ("vllm" in "acme/vllm-openai"); with a slash, the last components
    of the path; with a slash at the end, any component before the last."""
    programs: tuple[str, ...] = ()
    subcommands: tuple[tuple[str, ...], ...] = ((),)
    """Words after the program that start the server; () for none."""
    modules: tuple[str, ...] = ()
    """Python modules that start it (`python -m`), with those in them."""
    worker_modules: tuple[str, ...] = ()
    """Python modules that start it with other flags than its own."""
    arguments_env: tuple[str, ...] = ()
    """Variables with further arguments, which the image's entry point adds."""
    positional_model: bool = False
    """Whether the first argument is the model."""
    model_flags: tuple[str, ...] = ("--model",)
    served_model_flags: tuple[str, ...] = ()
    """Flags of the name in requests. Without one of them the name is that of the model."""
    model_env: tuple[str, ...] = ()
    served_model_env: tuple[str, ...] = ()
    port: int = 8000
    """Where the image listens for requests if nothing sets the port."""
    port_flags: tuple[str, ...] = ("--port",)
    port_env: tuple[str, ...] = ()
    """Variables with a port or an address that ends in one."""
    grpc_port: int = 0
    """Where it listens for gRPC; 0 if it does not, or not in a usual deployment."""
    grpc_port_flags: tuple[str, ...] = ()
    grpc_switches: tuple[str, ...] = ()
    """Flags, or modules in place of its usual one, with which it accepts gRPC only."""
    is_grpc: bool = False
    """Whether it accepts gRPC only."""
    has_opt_in_http: bool = False
    """Whether its program, started directly, accepts HTTP only where a flag sets the port."""
    http_switch_flags: tuple[str, ...] = ()
    """Flags that turn HTTP off with the value "false" or "0"."""
    has_grpc_images: bool = False
    """Whether images with "grpc" in their tag accept gRPC only."""
    tls_flags: tuple[str, ...] = ()
    tls_env: tuple[str, ...] = ()
    """Variables that turn TLS on unless they say "disabled"."""
