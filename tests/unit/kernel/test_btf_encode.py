"""Encoding by BTF; that it is the reverse of decoding is in ``test_btf``."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.unit.kernel.test_btf import ALL_KINDS, AllKinds, compiled, needs_clang

from bpftune.kernel.btf import Btf
from bpftune.kernel.btf_encode import encoder


@needs_clang
@pytest.mark.parametrize(
    "wrong",
    [{"small": 256}, {"comm": b"ab"}, {"comm": bytes(6)}, {"ports": (1, 2)}],
    ids=str,
)
def test_what_does_not_fit_is_not_encoded(wrong: dict[str, Any]) -> None:
    btf = Btf(compiled(ALL_KINDS))
    _, decode = btf.decoder(AllKinds)
    made = decode(bytes(btf.size_of("all_kinds")), 0)
    encode = encoder(btf, AllKinds)
    assert decode(encode(made), 0) == made
    with pytest.raises(ValueError, match="AllKinds"):
        encode(dataclasses.replace(made, **wrong))
