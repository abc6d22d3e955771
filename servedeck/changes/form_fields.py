"""The fields that every serving's form has; a template adds its own.

Labels, help and defaults are those of the console that servedeck mirrors.
"""

from __future__ import annotations

from servedeck.serving.spec.fields import Field, InputKind

BASIC_FIELDS = (
    Field(
        "name",
        "Service Name",
        "Lowercase letters, digits and hyphens, no hyphen at either end, up to 63 characters",
        required=True,
    ),
    Field("namespace", "Namespace", "Namespace that the serving goes into", required=True),
    Field("description", "Description", "What the serving is for; shown with it"),
    Field("template", "Service Template", "Inference framework", InputKind.CHOICE, required=True),
)
RESOURCE_FIELDS = (
    Field(
        "image",
        "Image",
        "Container image, registry/name:tag",
        required=True,
    ),
    Field("cpu", "CPU", "Number of CPU cores: 0.5, 500m, 8", InputKind.QUANTITY, default="0.5"),
    Field("memory", "Memory", "Memory: 512Mi, 1Gi, 64Gi", InputKind.QUANTITY, default="1Gi"),
    Field("accelerator", "Accelerator", "Accelerator type", InputKind.SUGGESTION),
    Field(
        "accelerator_count",
        "Accelerator Count",
        "Number of accelerators of each replica",
        InputKind.INTEGER,
        default=1,
    ),
    Field("replicas", "Replicas", "Number of service containers", InputKind.INTEGER, default=1),
)
ADVANCED_FIELDS = (
    Field(
        "inference_port",
        "Inference Port",
        "Port that the inference server listens on",
        InputKind.INTEGER,
        default=8000,
        advanced=True,
    ),
    Field(
        "command",
        "Command Override",
        "Container start command instead of the template's; quoted as in a shell",
        InputKind.ARGUMENTS,
        default=(),
        advanced=True,
    ),
)
TRANSFORMER_FIELDS = (
    Field(
        "transformer.image",
        "Transformer Image",
        "Image of a sidecar that receives requests before the inference server; empty for none",
        advanced=True,
    ),
    Field(
        "transformer.port",
        "Transformer Port",
        "Port that the transformer listens on",
        InputKind.INTEGER,
        default=8080,
        advanced=True,
    ),
    Field(
        "transformer.command",
        "Transformer Command",
        "Start command of the transformer; empty for the image's own",
        InputKind.ARGUMENTS,
        default=(),
        advanced=True,
    ),
)
COMMON_FIELDS = (*BASIC_FIELDS, *RESOURCE_FIELDS, *ADVANCED_FIELDS, *TRANSFORMER_FIELDS)
