"""Opens the log that gateways share; what speaks to buckets is loaded only where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import SettingInvalidError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.control.sharing import Sharing


def open_sharing(url: str, state_folder: Path) -> Sharing | None:
    """Return a state folder's part in the shared log at an address; None for no address.

    Raises
    ------
    SettingInvalidError
        What speaks to buckets is not installed.
    BucketAddressError, ChainBrokenError
        The address is of another kind; what the folder keeps of the log is not whole.
    """
    if not url:
        return None
    try:
        from storage.objects import Objects  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingInvalidError("to share events in a bucket, install turnout[s3]") from error
    from gateway.control.sharing import Sharing  # noqa: PLC0415
    from gateway.journal.commits import EventFolders  # noqa: PLC0415
    from gateway.journal.shared.shared import SharedLog  # noqa: PLC0415

    folders = EventFolders(state_folder)
    return Sharing(folders, SharedLog(folders, Objects(url)))
