"""Who acts, in which role, and what each role may do.

At the command line the actor is the user of the operating system; another person brings a signed token. Where the
workflow of a pipeline names its stewards, only they act in that role; without them everybody is steward and approver.
An auditor sees raw values and is never anybody by default: the workflow names him, or his token is signed for it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_xml.checked import Catalog
from pipeline_xml.model import ROLES, Role
from resources.secrets import SecretMissing, SecretResolver
from stewardship.refused import NotAllowed, Refused, TokenRefused

STEWARD: Role = "steward"
APPROVER: Role = "approver"
AUDITOR: Role = "auditor"
TOKEN_KEY = "DATALAKE_TOKEN_KEY"  # noqa: S105 - the name of a secret
SHORTEST_KEY = 32  # bytes: a key shorter than the hash of HS256 can be guessed (RFC 7518, 3.2)
ALGORITHM = "HS256"
LONGEST_NAME = 200
LONGEST_REASON = 500
# What each action needs. Approving, rejecting and revoking: the roles of the workflow's <approval>, else approver.
NEEDS: Mapping[str, tuple[Role, ...]] = {
    "assign": (STEWARD, APPROVER),
    "correct": (STEWARD,),
    "discard": (STEWARD,),
    "export": (STEWARD,),
    "import": (STEWARD,),
    "replay": (STEWARD, APPROVER),
    "approve": (APPROVER,),
    "reject": (APPROVER,),
    "revoke": (APPROVER,),
    "release": (APPROVER,),
    "withdraw": (APPROVER,),
    "unpublish": (APPROVER,),
    "restore": (APPROVER,),
    "reread": (APPROVER,),
    "rebuild": (APPROVER,),
    "reveal": (AUDITOR,),
    "pause": (STEWARD, APPROVER),
    "ignore": (STEWARD, APPROVER),
    "resume": (STEWARD, APPROVER),
    "retry": (STEWARD, APPROVER),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """A person and the role in which he acts. `signed`: a token vouches for both."""

    name: str
    role: Role
    signed: bool = False

    def is_same_person(self, name: str) -> bool:
        return same_person(self.name, name)


def same_person(one: str, other: str) -> bool:
    """Names differ by more than case and surrounding blanks."""
    return one.strip().casefold() == other.strip().casefold()


def reason_of(text: str) -> str:
    """The reason as it is kept; Refused where there is none, or too much of it."""
    reason = text.strip()
    if not reason or len(reason) > LONGEST_REASON:
        raise Refused(f"a reason is needed, of 1 to {LONGEST_REASON} characters; it is kept with the decision")
    return reason


def operating_system_user() -> str:
    """The name of the process's real user id; the environment has no say in it."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def actor_for(catalog: Catalog, pipeline: str, action: str, token: str | None, secrets: SecretResolver) -> Actor:
    """Who asks for the action: the bearer of the token, else the user of the operating system in a role it needs.

    NotAllowed, TokenRefused. Services check again with `require`: not every caller comes this way.
    """
    if token is not None:
        bearer = read_token(token, secrets)
        require(catalog, pipeline, bearer, action)
        return bearer
    name = operating_system_user()
    roles = roles_for(catalog, pipeline, action)
    able = [role for role in roles if _holds(catalog, pipeline, Actor(name, role))]
    actor = Actor(name, able[0] if able else roles[0])
    require(catalog, pipeline, actor, action)
    return actor


def roles_for(catalog: Catalog, pipeline: str, action: str) -> tuple[Role, ...]:
    """The roles of which one is needed."""
    workflow = catalog.workflow(pipeline)
    if action in ("approve", "reject", "revoke") and workflow is not None:
        return tuple(role for role in ROLES if role in workflow.approval_roles and role != AUDITOR) or NEEDS[action]
    return NEEDS[action]


def require(catalog: Catalog, pipeline: str, actor: Actor, action: str) -> None:
    """NotAllowed unless the actor's role may do it, and he holds that role for the pipeline."""
    roles = roles_for(catalog, pipeline, action)
    if actor.role not in roles:
        raise NotAllowed(f"{action} needs the role {' or '.join(roles)}; {actor.name} acts as {actor.role}")
    if not _holds(catalog, pipeline, actor):
        raise NotAllowed(_why_not(catalog, pipeline, actor, action))


def _holds(catalog: Catalog, pipeline: str, actor: Actor) -> bool:
    workflow = catalog.workflow(pipeline)
    named = workflow.stewards if workflow is not None else ()
    if any(same_person(s.user, actor.name) and s.role == actor.role for s in named):
        return True
    return actor.signed if actor.role == AUDITOR else not named


def _why_not(catalog: Catalog, pipeline: str, actor: Actor, action: str) -> str:
    workflow = catalog.workflow(pipeline)
    others = [s.user for s in workflow.stewards if s.role == actor.role] if workflow is not None else []
    who = f"its {actor.role}s are {', '.join(others)}" if others else f"nobody is {actor.role} of it by name"
    token = " or bring a token signed for that role" if actor.role == AUDITOR else ""
    place = f"in the workflow '{workflow.id}'" if workflow is not None else "in a workflow that names the pipeline"
    return (
        f"{actor.name} may not {action} as {actor.role} of {pipeline}: {who}; "
        f'write <steward user="{actor.name}" role="{actor.role}"/> {place}{token}'
    )


def read_token(token: str, secrets: SecretResolver) -> Actor:
    """The person and role that a JSON Web Token proves: HS256 under DATALAKE_TOKEN_KEY, with sub, role and exp."""
    import jwt

    key = _key(secrets)
    text = token.strip()
    try:
        if jwt.get_unverified_header(text).get("alg") != ALGORITHM:
            raise TokenRefused(f"the token is not signed with {ALGORITHM}, and no other signature is taken")
        claims = jwt.decode(text, key, algorithms=[ALGORITHM], options={"require": ["sub", "role", "exp"]})
    except jwt.ExpiredSignatureError as error:
        raise TokenRefused("the token has expired; ask for a new one") from error
    except jwt.InvalidSignatureError as error:
        raise TokenRefused(f"the token's signature is not made with the key {TOKEN_KEY}, or it was changed") from error
    except jwt.MissingRequiredClaimError as error:
        raise TokenRefused(f"the token lacks the claim '{error.claim}'; needed: sub, role, exp") from error
    except jwt.InvalidTokenError as error:
        # Its own message may quote the token.
        raise TokenRefused(f"the token cannot be read as a signed one ({type(error).__name__})") from error
    return _bearer(claims)


def _bearer(claims: Mapping[str, Any]) -> Actor:
    name, role = claims["sub"].strip(), claims["role"]
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise TokenRefused(f"the token's sub is no name: 1 to {LONGEST_NAME} printable characters are valid")
    if role not in ROLES:
        raise TokenRefused(f"the token's role is none; valid: {', '.join(ROLES)}")
    return Actor(name, role, signed=True)


def _key(secrets: SecretResolver) -> bytes:
    try:
        key = secrets.key(TOKEN_KEY)
    except SecretMissing as error:
        raise TokenRefused(f"tokens cannot be checked: {error}") from error
    if len(key) < SHORTEST_KEY:
        raise TokenRefused(f"secret '{TOKEN_KEY}' has {len(key)} bytes; a key for tokens needs at least {SHORTEST_KEY}")
    return key
