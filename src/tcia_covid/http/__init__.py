"""HTTP as a downloader needs it: honest waiting, one owner of retries, one pace for all workers."""

from tcia_covid.http.versions import check_urllib3

check_urllib3()

from tcia_covid.http.answer import Answer  # noqa: E402 - only a new enough urllib3 has all it uses
from tcia_covid.http.client import Client  # noqa: E402
from tcia_covid.http.meter import Meter, RateLimit  # noqa: E402
from tcia_covid.http.pace import Pace  # noqa: E402
from tcia_covid.http.retry import Patience  # noqa: E402

__all__ = ["Answer", "Client", "Meter", "Pace", "Patience", "RateLimit"]
