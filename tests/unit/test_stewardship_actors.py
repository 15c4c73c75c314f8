"""Who acts: the user of the operating system, or the bearer of a token that holds; and which role may do what."""

from __future__ import annotations

import base64
import json
import os
import pwd
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_xml.checked import Catalog, CheckedApplication
from pipeline_xml.location import Location
from pipeline_xml.model import Role, Steward, Workflow
from resources.secrets import SecretResolver
from stewardship.actors import (
    APPROVER,
    AUDITOR,
    NEEDS,
    STEWARD,
    TOKEN_KEY,
    Actor,
    actor_for,
    operating_system_user,
    read_token,
    require,
)
from stewardship.refused import NotAllowed, TokenRefused

KEY = b"a key of tests alone: 32 bytes, or a few more"
HERE = Location("workflow.xml", 1, 1)
OWN = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SecretResolver:
    monkeypatch.delenv(TOKEN_KEY, raising=False)
    (tmp_path / TOKEN_KEY).write_bytes(KEY)
    return SecretResolver(tmp_path)


def token(key: bytes = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    stated = {"sub": "ben", "role": "approver", "exp": int(time.time()) + 60, **claims}
    return jwt.encode({k: v for k, v in stated.items() if v is not None}, key, algorithm)


def catalog(*stewards: tuple[str, Role], approval: tuple[str, ...] = ("approver",)) -> Catalog:
    named = tuple(Steward(where=HERE, user=user, role=role) for user, role in stewards)
    workflow = Workflow(
        where=HERE, app="app", id="way_back", pipelines=("feed",), approval_roles=approval, stewards=named
    )
    return Catalog(Path("config"), (CheckedApplication("app", workflows=(workflow,)),))


def test_a_sound_token_says_who_and_in_which_role(secrets: SecretResolver) -> None:
    assert read_token(token(), secrets) == Actor("ben", APPROVER, signed=True)
    assert read_token(f" {token()}\n", secrets).name == "ben"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: token(exp=int(time.time()) - 1), "has expired"),
        (lambda: token(key=b"another key of the right length, 32 b"), "signature is not made with the key"),
        (lambda: token(algorithm="HS512", key=KEY * 2), "not signed with HS256"),
        (lambda: token(exp=None), "lacks the claim 'exp'"),
        (lambda: token(role=None), "lacks the claim 'role'"),
        (lambda: token(sub=None), "lacks the claim 'sub'"),
        (lambda: token(role="king"), "valid: steward, approver, auditor"),
        (lambda: token(role=["auditor"]), "valid: steward, approver, auditor"),
        (lambda: token(sub="  "), "sub is no name"),
        (lambda: token(sub="ben\nana"), "sub is no name"),
        (lambda: token(sub=7), "cannot be read"),
        (lambda: token(nbf=int(time.time()) + 60), "cannot be read"),
        (lambda: "not a token", "cannot be read"),
        (lambda: "", "cannot be read"),
    ],
)
def test_each_unsound_token_is_refused_in_its_own_words(secrets: SecretResolver, made: Any, said: str) -> None:
    with pytest.raises(TokenRefused, match=said):
        read_token(made(), secrets)


def test_a_token_that_claims_to_need_no_signature_is_refused(secrets: SecretResolver) -> None:
    for algorithm in ("none", "None", "NONE"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).rstrip(b"=").decode()
        body = token().split(".")[1]
        for signature in ("", token().split(".")[2]):
            with pytest.raises(TokenRefused, match="not signed with HS256"):
                read_token(f"{head}.{body}.{signature}", secrets)
    unsigned = ".".join(token().split(".")[:2])
    for text in (unsigned, unsigned + "."):
        with pytest.raises(TokenRefused):
            read_token(text, secrets)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 5))
def test_any_change_of_a_token_is_refused(at: int, bit: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sound = token()
    place = at % (len(sound) - 1)  # the last sign holds four bits that mean nothing
    if sound[place] == ".":
        return
    changed = alphabet[alphabet.index(sound[place]) ^ (1 << bit)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN_KEY, KEY.decode())
        with pytest.raises(TokenRefused):
            read_token(sound[:place] + changed + sound[place + 1 :], SecretResolver())


def test_a_missing_or_short_key_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_KEY, raising=False)
    with pytest.raises(TokenRefused, match=f"'{TOKEN_KEY}' is missing"):
        read_token(token(), SecretResolver(tmp_path))
    (tmp_path / TOKEN_KEY).write_bytes(KEY[:31])
    with pytest.raises(TokenRefused, match="has 31 bytes"):
        read_token(token(), SecretResolver(tmp_path))


def test_the_environment_does_not_say_who_the_user_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "SUDO_USER", "USERNAME"):
        monkeypatch.setenv(name, "somebody_else")
    assert operating_system_user() == OWN


def test_without_named_stewards_everybody_is_steward_and_approver_and_nobody_auditor(secrets: SecretResolver) -> None:
    for around in (catalog(), Catalog(Path("config"), ())):
        assert actor_for(around, "app/feed", "correct", None, secrets) == Actor(OWN, STEWARD)
        assert actor_for(around, "app/feed", "approve", None, secrets) == Actor(OWN, APPROVER)
        with pytest.raises(NotAllowed, match="bring a token signed for that role"):
            actor_for(around, "app/feed", "reveal", None, secrets)
        assert actor_for(around, "app/feed", "reveal", token(role="auditor"), secrets).role == AUDITOR


def test_named_stewards_are_the_only_ones(secrets: SecretResolver) -> None:
    around = catalog(("Ben", "approver"), ("ana", "steward"), (OWN, "auditor"))
    assert actor_for(around, "app/feed", "approve", token(), secrets).name == "ben"
    assert actor_for(around, "app/feed", "reveal", None, secrets) == Actor(OWN, AUDITOR)
    with pytest.raises(NotAllowed, match=r"its stewards are ana; write <steward user="):
        actor_for(around, "app/feed", "correct", None, secrets)
    with pytest.raises(NotAllowed, match="its approvers are Ben"):
        actor_for(around, "app/feed", "approve", token(sub="mallory"), secrets)


def test_the_workflow_says_which_roles_approve(secrets: SecretResolver) -> None:
    both = catalog(("ana", "steward"), approval=("steward", "approver"))
    require(both, "app/feed", Actor("ana", STEWARD), "approve")
    with pytest.raises(NotAllowed, match="approve needs the role approver; ana acts as steward"):
        require(catalog(), "app/feed", Actor("ana", STEWARD), "approve")


@pytest.mark.parametrize("action", sorted(NEEDS))
def test_a_role_does_what_it_is_for_and_nothing_else(action: str) -> None:
    roles: tuple[Role, ...] = (STEWARD, APPROVER, AUDITOR)
    for role in roles:
        actor = Actor("ana", role, signed=True)
        if role in NEEDS[action]:
            require(catalog(), "app/feed", actor, action)
        else:
            with pytest.raises(NotAllowed, match=f"{action} needs the role"):
                require(catalog(), "app/feed", actor, action)
    assert (AUDITOR in NEEDS[action]) == (action == "reveal")
