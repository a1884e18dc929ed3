"""Licenses by their identifiers at SPDX: a misspelt one would be published as the address of a license there is not."""

from __future__ import annotations

from capture.errors import CaptureError, suggest
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: identifiers that people give data, code and texts of research
COMMON = (
    *("0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0"),
    *("BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0"),
    *("CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0"),
    *("CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-3.0", "CC-BY-ND-4.0"),
    *("CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-PDDC", "CC0-1.0"),
    *("CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0"),
    *("CECILL-2.1", "CECILL-B", "CECILL-C", "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2"),
    *("GFDL-1.3-only", "GFDL-1.3-or-later", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later"),
    *("ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "LPPL-1.3c"),
    *("MIT", "MIT-0", "MPL-2.0", "MS-PL", "MulanPSL-2.0", "NCSA", "ODbL-1.0", "ODC-By-1.0", "OFL-1.1", "OGL-UK-3.0"),
    *("OSL-3.0", "PDDL-1.0", "PostgreSQL", "PSF-2.0", "Python-2.0", "Unlicense", "UPL-1.0", "Vim", "WTFPL", "Zlib"),
)
_LIST = "https://spdx.org/licenses/"


class UnknownLicenseError(CaptureError, ValueError):
    """A license that is neither a URL nor an identifier that is known here.

    Attributes
    ----------
    license : str
    """

    def __init__(self, license: str) -> None:
        self.license = license
        lower = {each.lower(): each for each in COMMON}
        close = lower.get(suggest(license.lower(), lower) or "")
        super().__init__(
            f"{visible(license)!r} is no license that is known here."
            + (f"\n  did you mean:  {close}" if close else "")
            + "\n  possible:      identifiers of SPDX such as CC-BY-4.0, CC0-1.0, MIT, Apache-2.0; any URL"
            + f"\n  what to do:    for one that is not known here, give its URL: {_LIST}...",
            print_traceback=False,
        )

    def __reduce__(self) -> Any:
        return type(self), (self.license,)


def license_of(text: str) -> tuple[str, str]:
    """Return the URL and the name of a license.

    Parameters
    ----------
    text : str
        Any URL, or one of `COMMON`, in capitals or not.

    Raises
    ------
    UnknownLicenseError
        If it is neither; it says which was probably meant.

    Examples
    --------
    >>> license_of("cc-by-4.0")
    ('https://spdx.org/licenses/CC-BY-4.0', 'CC-BY-4.0')
    >>> license_of("https://example.org/terms")
    ('https://example.org/terms', 'terms')
    """
    scheme, colon, rest = text.partition("://")
    if colon and scheme.isalpha() and rest.strip("/") and not any(each.isspace() for each in text):
        return text, text.rstrip("/").rpartition("/")[2]
    name = next((each for each in COMMON if each.lower() == text.strip().lower()), None)
    if name is None:
        raise UnknownLicenseError(text)
    return _LIST + name, name
