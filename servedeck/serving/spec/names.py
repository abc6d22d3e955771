"""Rules for the names that a serving uses.

Each function returns one sentence that says what is wrong and what to do, or "" for a good name.
"""

from __future__ import annotations

import re

LONGEST_LABEL = 63
LONGEST_SUBDOMAIN = 253
LONGEST_IMAGE = 1024
LONGEST_ENV_NAME = 256

_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_REFERENCE = re.compile(
    # registry/path parts, then a tag, a digest, or both: distribution/reference, regexp.go
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"(?::[0-9]+)?/|\[[0-9a-fA-F:]+\](?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


def label_problem(name: str, what: str = "The name") -> str:
    """RFC 1123 label (kubernetes apimachinery validation.go, IsDNS1123Label): 1 to 63 lower-case
    letters, digits and hyphens, no hyphen at either end."""
    if not name:
        return (
            f"{what} is missing; write 1 to {LONGEST_LABEL} lower-case letters, digits or hyphens."
        )
    if len(name) > LONGEST_LABEL:
        return f"{what} has {len(name)} characters; shorten it to {LONGEST_LABEL}."
    if bad := _strange(name, extra="-"):
        hint = f"; write {name.lower()!r}" if not _strange(name.lower(), extra="-") else ""
        return f"{what} may hold only lower-case letters, digits and hyphens, not {bad!r}{hint}."
    if name[0] == "-":
        return f"{what} must not start with a hyphen; start it with a letter or digit."
    if name[-1] == "-":
        return f"{what} must not end with a hyphen; end it with a letter or digit."
    return ""


def subdomain_problem(name: str, what: str = "The name") -> str:
    """RFC 1123 subdomain (validation.go, IsDNS1123Subdomain): labels joined by dots, 1 to 253."""
    if not name:
        return f"{what} is missing; write the name of an object of this namespace."
    if len(name) > LONGEST_SUBDOMAIN:
        return f"{what} has {len(name)} characters; it can have at most {LONGEST_SUBDOMAIN}."
    if bad := _strange(name, extra="-."):
        return f"{what} may hold only lower-case letters, digits, hyphens and dots, not {bad!r}."
    if any(not part or part[0] == "-" or part[-1] == "-" for part in name.split(".")):
        return f"{what} must start and end, around each dot too, with a letter or digit."
    return ""


def host_problem(host: str, what: str = "The host") -> str:
    """A host name; "*." in front is allowed, as in a route."""
    return subdomain_problem(host.removeprefix("*."), what)


def env_name_problem(name: str, what: str = "The variable's name") -> str:
    """validation.go, IsEnvVarName, in the strict form that every supported version accepts."""
    if not name:
        return f"{what} is missing; write NAME=VALUE."
    if len(name) > LONGEST_ENV_NAME:
        return f"{what} has {len(name)} characters; shorten it to {LONGEST_ENV_NAME}."
    if name[0].isdigit():
        return f"{what} must not start with a digit; put a letter or _ in front of {name!r}."
    if name in (".", "..") or name.startswith(".."):
        return f"{what} must not be or start with {'..'!r}; start it with a letter or _."
    if not _ENV_NAME.fullmatch(name):
        return f"{what} may hold only letters, digits, _, - and dots; rename {name!r}."
    return ""


def key_problem(key: str, what: str = "The key") -> str:
    """Key of a Secret or ConfigMap: validation.go, IsConfigMapKey."""
    if not key:
        return f"{what} is missing; write which key of it holds the value."
    if len(key) > LONGEST_SUBDOMAIN:
        return f"{what} has {len(key)} characters; it can have at most {LONGEST_SUBDOMAIN}."
    if key == "." or key.startswith("..") or not _CONFIG_KEY.fullmatch(key):
        return f"{what} may hold only letters, digits, -, _ and dots, not two dots in front."
    return ""


def image_problem(image: str, what: str = "The image") -> str:
    """Image reference: the API server takes nearly any text, the kubelet then fails with
    InvalidImageName; the grammar is that of distribution/reference."""
    if not image:
        return f"{what} is missing; write one such as registry.example.com/team/server:1.0."
    if image != image.strip() or any(character.isspace() for character in image):
        return f"{what} must not hold blanks; remove them."
    if len(image) > LONGEST_IMAGE:
        return f"{what} has {len(image)} characters; write a shorter reference."
    if _REFERENCE.fullmatch(image):
        return ""
    if "://" in image:
        return f"{what} is a reference, not a URL; leave {image.split('://')[0] + '://'!r} out."
    return (
        f"{what} {image!r} is not a reference; write [registry/]path[:tag][@digest] in lower case."
    )


def resource_problem(key: str, what: str = "The accelerator") -> str:
    """Extended resource of a device plugin: a domain with a dot, a slash and a name (core
    validation.go, IsExtendedResourceName). rdma/hca and the like are devices beside it."""
    domain, slash, name = key.partition("/")
    if (
        not slash
        or "." not in domain
        or subdomain_problem(domain)
        or not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", name)
    ):
        return f"{what} {key!r} is not a resource key; write one such as nvidia.com/gpu."
    if (
        domain == "kubernetes.io"
        or domain.endswith(".kubernetes.io")
        or key.startswith("requests.")
    ):
        return (
            f"{what} {key!r} is a resource of Kubernetes itself; write one such as nvidia.com/gpu."
        )
    return ""


def _strange(name: str, *, extra: str) -> str:
    """First character of `name` that is no lower-case letter, digit or one of `extra`."""
    for character in name:
        lower = character.isascii() and (character.islower() or character.isdigit())
        if not lower and character not in extra:
            return character
    return ""
