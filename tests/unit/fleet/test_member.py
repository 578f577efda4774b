from __future__ import annotations

import pytest

from sextant.errors import InputError
from sextant.fleet import MemberSpec
from sextant.fleet.member import build


def test_a_spec_names_its_role() -> None:
    assert MemberSpec(name="shard/3", factory="a.b:C").role == "shard"


@pytest.mark.parametrize("name", ["", "shard", "shard/", "/3", "shard/3/4", "Shard/3", "shard/*"])
def test_a_name_that_would_not_do_as_a_key_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        MemberSpec(name=name, factory="a.b:C")


def test_a_factory_is_a_module_and_a_name() -> None:
    with pytest.raises(InputError, match=r"a\.b\.C"):
        MemberSpec(name="shard/3", factory="a.b.C")


@pytest.mark.parametrize("factory", ["nowhere:C", "json:Nothing", "json:dumps"])
def test_what_makes_no_member_is_refused(factory: str) -> None:
    with pytest.raises(InputError, match=factory):
        build(factory, {"obj": 1} if factory == "json:dumps" else {})
