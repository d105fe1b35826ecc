"""Commands for the keys of signed models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.common import Common

if TYPE_CHECKING:
    from tasks.signing import Signing

keys_app = App(name="keys", help="Keys of signed models.")


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(keys_app)


@keys_app.command
def show(*, common: Common = Common()) -> None:
    """Print the public keys that models are verified with, and where they lie.

    A key's fingerprint is the SHA-256 of its PEM file.

    Args:
        common: Flags that every command takes.
    """
    from flows.session import emit

    signing = _signing(common)
    found = signing.trusted()
    if common.json:
        plain = {"private_key": str(signing.private_key), "can_sign": signing.private_key.is_file()}
        keys = [{"fingerprint": key, "pem": pem.decode()} for key, pem in found.items()]
        emit({**plain, "public_key": str(signing.public_key), "kept": str(signing.kept), "trusted": keys})
        return
    print(f"signs with    {signing.private_key if signing.private_key.is_file() else 'no private key here'}")
    print(f"verifies with {signing.public_key if found else 'no public key: a first training makes a pair'}")
    for key, pem in found.items():
        print(f"\n{key}\n{pem.decode()}", end="")


@keys_app.command
def rotate(*, revoke: Annotated[bool, Parameter(negative="")] = False, common: Common = Common()) -> None:
    """Make a new key for signing models; versions that the old one signed still verify.

    Args:
        revoke: Trust the old key no longer: every version that it signed is refused from now on.
        common: Flags that every command takes.
    """
    from abi.audit.entry import Draft
    from flows.session import emit, settings_of
    from tasks.ledger import Ledger

    signing = _signing(common, writes=True)
    ledger = Ledger.open(signing.ws, settings_of(common, []).audit)
    before, new = signing.rotate(revoke=revoke)
    changed = {"before": before, "new": new, "revoked": revoke and before is not None}
    ledger.append(Draft(kind="signing", model="", detail=changed, operation=f"signing:{new}"))
    if common.json:
        emit(changed)
    elif not common.quiet:
        fate = "" if before is None else f"; {before[:12]} is {'refused' if revoke else 'still trusted'}"
        print(f"models are now signed with {new[:12]}{fate}")


def _signing(common: Common, *, writes: bool = False) -> Signing:
    from flows.session import look, settings_of, workspace_of
    from tasks import progress
    from tasks.signing import Signing
    from tasks.workspace import Workspace

    config = settings_of(common, [])
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    ws = Workspace.open(workspace_of(common)) if writes else look(common, config)
    return Signing(ws, config.signing)
