"""Masking of what looks secret in log lines and messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.secret_text import LineMasker, mask_text
from servedeck.serving.text import MASK

TOKEN = "hf_" + "a1B2c3D4e5F6" * 3
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # by name
        ("password=hunter2 user=x", f"password={MASK} user=x"),
        ("DB_PASS=hunter2", f"DB_PASS={MASK}"),
        ("api_key: 'hunter2', model: m", f"api_key: '{MASK}', model: m"),
        ('{"apiKey":"hunter2","model":"m"}', f'{{"apiKey":"{MASK}","model":"m"}}'),
        ('{\\"token\\": \\"hunter2\\"}', f'{{\\"token\\": \\"{MASK}\\"}}'),
        ("{'api_key': ['hunter2'], 'n': 1}", f"{{'api_key': [{MASK}], 'n': 1}}"),
        ("Namespace(api_key='hunter2', port=1)", f"Namespace(api_key='{MASK}', port=1)"),
        ("secret => hunter2", f"secret => {MASK}"),
        ('password="two words" x', f'password="{MASK}" x'),
        ('password="no end', f'password="{MASK}'),
        ("clientSecret=hunter2", f"clientSecret={MASK}"),
        ("LITELLM_MASTER_KEY=hunter2", f"LITELLM_MASTER_KEY={MASK}"),
        # flags
        ("vllm serve --api-key hunter2 --port 1", f"vllm serve --api-key {MASK} --port 1"),
        ("['--api-key', 'hunter2', '-v']", f"['--api-key', '{MASK}', '-v']"),
        ("--token=hunter2", f"--token={MASK}"),
        # headers
        ("Authorization: Bearer hunter2x", f"Authorization: {MASK}"),
        ("authorization: Token hunter2 more", f"authorization: {MASK}"),
        ('-H "X-Api-Key: hunter2"', f'-H "X-Api-Key: {MASK}'),
        ("Set-Cookie: sid=hunter2; Path=/", f"Set-Cookie: {MASK}"),
        # by shape
        (f"using {TOKEN} now", f"using {MASK} now"),
        (f"a\\n{TOKEN}", f"a\\n{MASK}"),
        (f"x=%3D{TOKEN}", f"x=%3D{MASK}"),
        (f"got {JWT}.", f"got {MASK}."),
        ("key AKIAABCDEFGHIJKLMNOP", f"key {MASK}"),
        ("bearer abcdef0123456789", f"bearer {MASK}"),
        ("Basic dXNlcjpwYXNz", f"Basic {MASK}"),
        ("postgres://u:hunter2@db/x", f"postgres://u:{MASK}@db/x"),
        ("redis://:hunter2@db", f"redis://:{MASK}@db"),
        ("http://u:p@ss@db/x", f"http://u:{MASK}@db/x"),
        ("https://abcdefghijklmnopqrstuv@git/x", f"https://{MASK}@git/x"),
        ("GET /x?X-Amz-Signature=0123abc HTTP/1.1", f"GET /x?X-Amz-Signature={MASK} HTTP/1.1"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb",
            f"a\n{MASK}\nb",
        ),
        ("-----BEGIN PRIVATE KEY-----\\nMIIE\\n", MASK),
    ],
)
def test_what_is_masked(text: str, expected: str) -> None:
    masked, count = mask_text(text)
    assert masked == expected
    assert count == 1


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=4096 num_tokens: 12",
        "Avg generation throughput: 12.3 tokens/s, Running: 2 reqs",
        "image: registry.example.com/auth:1.2",
        "eos_token_id=2",
        "token_file=/etc/token",
        "api_key=None password='' token=null secret: <none>",
        "--api-key $(API_KEY) --token ${TOKEN}",
        'MountVolume.SetUp failed for volume "x" : secret "hf-token" not found',
        "couldn't find key token in Secret npu-lab/hf-token",
        "http://10.0.0.1:8000/v1/models?user=a@b.c",
        "Bearer authentication failed",
        "tokenizer: org/model",
        "task-abcdefghijklmnopqrstuvwxyz",
        f"password={MASK}",
        "--api-key --verbose",
        "author=me keyboard=us",
        "Prefill batch. #new-seq: 1, #new-token: 7, #cached-token: 0, token usage: 0.00",
        "valid_sampled_token_ids = [[1, 2]] prompt_token_ids=[5]",
        "bos_token='<s>', eos_token: '<|im_end|>', pad_token=[PAD]",
        "set password=<your-password>",
    ],
)
def test_what_is_not_masked(text: str) -> None:
    assert mask_text(text) == (text, 0)


def test_names_can_be_left_out() -> None:
    assert mask_text("token: Secret hf", names=False) == ("token: Secret hf", 0)
    assert mask_text(f"token: {TOKEN}", names=False) == (f"token: {MASK}", 1)


def mask_lines(*lines: str) -> list[str]:
    masker = LineMasker()
    return [masker.mask(line) for line in lines]


def test_a_private_key_over_several_lines_is_masked_to_its_end() -> None:
    time = "2026-11-28T12:00:00.000000000Z "
    lines = [
        f"{time}INFO read key",
        f"{time}-----BEGIN RSA PRIVATE KEY-----",
        f"{time}Proc-Type: 4,ENCRYPTED",
        f"{time}",
        f"{time}INFO MIIEpAIBAAKCAQEA0123456789",
        f"{time}short==",
        f"{time}-----END RSA PRIVATE KEY-----",
        f"{time}INFO ready",
    ]
    masked = mask_lines(*lines)
    assert masked[0] == lines[0]
    assert masked[-1] == lines[-1]
    assert masked[1:7] == [f"{time}{MASK}"] * 6


def test_a_mention_of_a_private_key_hides_only_a_few_lines() -> None:
    lines = ["expected -----BEGIN PRIVATE KEY----- in the file", *(f"line {n}" for n in range(9))]
    assert mask_lines(*lines)[5:] == lines[5:]


def test_a_key_without_an_end_hides_no_more_lines_than_a_key_has() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", *(f"id-{n} 0123456789abcdef" for n in range(1000))]
    masked = mask_lines(*lines)
    assert masked[:200] == [MASK] * 200
    assert masked[-500:] == lines[-500:]


def test_lines_of_a_key_that_began_before_the_log_are_masked() -> None:
    body = "MIIEpAIBAAKCAQEA" * 4
    assert mask_lines(body, "ready") == [MASK, "ready"]


@given(st.text(), st.text(alphabet="abcdefghijkmnpqrstuvwxyz0123456789", min_size=8, max_size=40))
def test_no_value_after_a_secret_name_stays(before: str, value: str) -> None:
    secret = f"{value}7Q"
    for text in (
        f"{before} password={secret}",
        f'{before} "api_key": "{secret}"',
        f"{before} --api-key {secret}",
        f"{before} Authorization: Bearer {secret}",
        f"{before} https://user:{secret}@host/",
    ):
        assert secret not in mask_text(text)[0]
