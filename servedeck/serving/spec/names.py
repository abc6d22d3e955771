"""Rules for the names that a serving uses.

Each function returns one sentence with the problem and how to fix it, or "" for a valid name.
"""

from __future__ import annotations

import re

MAX_LABEL_LENGTH = 63
MAX_SUBDOMAIN_LENGTH = 253
MAX_IMAGE_LENGTH = 1024
MAX_ENV_NAME_LENGTH = 256

_ENV_NAME_PATTERN = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_LABEL_PATTERN = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_CONFIG_KEY_PATTERN = re.compile(r"[-._a-zA-Z0-9]+")
_IMAGE_REFERENCE_PATTERN = re.compile(
    # registry/path parts, then a tag, a digest, or both: distribution/reference, regexp.go
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
    r"(?::[0-9]+)?/|\[[0-9a-fA-F:]+\](?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


def validate_label(name: str, subject: str = "The name") -> str:
    """RFC 1123 label (kubernetes apimachinery validation.go, IsDNS1123Label): 1 to 63 lowercase
    letters, digits and hyphens, no hyphen at either end."""
    if not name:
        return (
            f"{subject} is missing; enter 1 to {MAX_LABEL_LENGTH} lowercase letters, "
            "digits or hyphens."
        )
    if len(name) > MAX_LABEL_LENGTH:
        return f"{subject} has {len(name)} characters; shorten it to {MAX_LABEL_LENGTH}."
    if bad := _first_invalid_character(name, allowed="-"):
        hint = (
            f"; write {name.lower()!r}"
            if not _first_invalid_character(name.lower(), allowed="-")
            else ""
        )
        return (
            f"{subject} may contain only lowercase letters, digits and hyphens, not {bad!r}{hint}."
        )
    if name[0] == "-":
        return f"{subject} must not start with a hyphen; start it with a letter or digit."
    if name[-1] == "-":
        return f"{subject} must not end with a hyphen; end it with a letter or digit."
    return ""


def service_name(name: str) -> str:
    """A name for the Service of a workload: the workload's own, made an RFC 1035 label (kubernetes
    apimachinery validation.go, IsDNS1035Label), which is what a Service needs: 1 to 63 characters,
    no dots, a letter first."""
    name = name.replace(".", "-")
    if not name[:1].isalpha():
        name = f"s-{name}"
    return name[:MAX_LABEL_LENGTH].rstrip("-")


def validate_subdomain(name: str, subject: str = "The name") -> str:
    """RFC 1123 subdomain (validation.go, IsDNS1123Subdomain): labels joined by dots, 1 to 253."""
    if not name:
        return f"{subject} is missing; enter the name of an object of this namespace."
    if len(name) > MAX_SUBDOMAIN_LENGTH:
        return f"{subject} has {len(name)} characters; it can have at most {MAX_SUBDOMAIN_LENGTH}."
    if bad := _first_invalid_character(name, allowed="-."):
        return (
            f"{subject} may contain only lowercase letters, digits, hyphens and dots, not {bad!r}."
        )
    if any(not part or part[0] == "-" or part[-1] == "-" for part in name.split(".")):
        return f"{subject} must start and end, around each dot too, with a letter or digit."
    return ""


def validate_host(host: str, subject: str = "The host") -> str:
    """A host name; a leading "*." is allowed, as in a route."""
    return validate_subdomain(host.removeprefix("*."), subject)


def validate_env_name(name: str, subject: str = "The variable's name") -> str:
    """validation.go, IsEnvVarName, in the strict variant that every supported version accepts."""
    if not name:
        return f"{subject} is missing; enter NAME=VALUE."
    if len(name) > MAX_ENV_NAME_LENGTH:
        return f"{subject} has {len(name)} characters; shorten it to {MAX_ENV_NAME_LENGTH}."
    if name[0].isdigit():
        return f"{subject} must not start with a digit; put a letter or _ in front of {name!r}."
    if name in (".", "..") or name.startswith(".."):
        return f"{subject} must not be or start with {'..'!r}; start it with a letter or _."
    if not _ENV_NAME_PATTERN.fullmatch(name):
        return f"{subject} may contain only letters, digits, _, - and dots; rename {name!r}."
    return ""


def validate_config_key(key: str, subject: str = "The key") -> str:
    """Key of a Secret or ConfigMap: validation.go, IsConfigMapKey."""
    if not key:
        return f"{subject} is missing; enter the key that holds the value."
    if len(key) > MAX_SUBDOMAIN_LENGTH:
        return f"{subject} has {len(key)} characters; it can have at most {MAX_SUBDOMAIN_LENGTH}."
    if key == "." or key.startswith("..") or not _CONFIG_KEY_PATTERN.fullmatch(key):
        return (
            f"{subject} may contain only letters, digits, -, _ and dots, and must not start with "
            "two dots."
        )
    return ""


def validate_image(image: str, subject: str = "The image") -> str:
    """Image reference: the API server accepts nearly any text, the kubelet then fails with
    InvalidImageName; the grammar is that of distribution/reference."""
    if not image:
        return f"{subject} is missing; enter a value such as registry.example.com/team/server:1.0."
    if image != image.strip() or any(character.isspace() for character in image):
        return f"{subject} must not contain spaces; remove them."
    if len(image) > MAX_IMAGE_LENGTH:
        return f"{subject} has {len(image)} characters; enter a shorter reference."
    if _IMAGE_REFERENCE_PATTERN.fullmatch(image):
        return ""
    if "://" in image:
        return (
            f"{subject} must be a reference, not a URL; remove {image.split('://')[0] + '://'!r}."
        )
    return (
        f"{subject} {image!r} is not a reference; enter [registry/]path[:tag][@digest] in lower "
        f"case."
    )


def validate_resource_name(key: str, subject: str = "The accelerator") -> str:
    """Extended resource of a device plugin: a domain with a dot, a slash and a name (core
    validation.go, IsExtendedResourceName). rdma/hca and similar are auxiliary devices, not
    accelerators."""
    domain, slash, name = key.partition("/")
    if (
        not slash
        or "." not in domain
        or validate_subdomain(domain)
        or not re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", name)
    ):
        return f"{subject} {key!r} is not a resource name; enter a value such as nvidia.com/gpu."
    if (
        domain == "kubernetes.io"
        or domain.endswith(".kubernetes.io")
        or key.startswith("requests.")
    ):
        return (
            f"{subject} {key!r} is a resource of Kubernetes itself; "
            "enter a value such as nvidia.com/gpu."
        )
    return ""


def validate_label_key(key: str, subject: str = "The key") -> str:
    """Key of a label or a taint (kubernetes apimachinery validation.go, IsQualifiedName): an
    optional prefix, which is a domain, a slash, and 1 to 63 characters."""
    prefix, slash, name = key.rpartition("/")
    if slash and (message := validate_subdomain(prefix, f"{subject}'s prefix {prefix!r}")):
        return message
    if not name:
        return f"{subject} is missing; write it before the value, as in key=value."
    if len(name) > MAX_LABEL_LENGTH:
        return f"{subject} {name!r} has {len(name)} characters; shorten it to {MAX_LABEL_LENGTH}."
    if not _LABEL_PATTERN.fullmatch(name):
        return (
            f"{subject} {key!r} may contain letters, digits, -, _ and dots after its prefix, and "
            "must start and end with a letter or digit."
        )
    return ""


def validate_label_value(value: str, subject: str = "The value") -> str:
    """Value of a label or a taint (IsValidLabelValue): empty, or up to 63 characters."""
    if len(value) > MAX_LABEL_LENGTH:
        return f"{subject} {value!r} has {len(value)} characters; shorten it to {MAX_LABEL_LENGTH}."
    if value and not _LABEL_PATTERN.fullmatch(value):
        return (
            f"{subject} {value!r} may contain letters, digits, -, _ and dots, and must start and "
            "end with a letter or digit."
        )
    return ""


def _first_invalid_character(name: str, *, allowed: str) -> str:
    """First character of `name` that is not a lowercase letter, a digit or in `allowed`."""
    for character in name:
        lower = character.isascii() and (character.islower() or character.isdigit())
        if not lower and character not in allowed:
            return character
    return ""
