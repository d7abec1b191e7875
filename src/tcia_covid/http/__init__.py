"""HTTP as a downloader needs it: honest waiting, one owner of retries, one pace for all workers."""

from tcia_covid.http.answer import Answer
from tcia_covid.http.client import Client
from tcia_covid.http.meter import Meter
from tcia_covid.http.pace import Pace
from tcia_covid.http.redact import redact
from tcia_covid.http.retry import Patience
from tcia_covid.http.settings import HttpSettings

__all__ = ["Answer", "Client", "HttpSettings", "Meter", "Pace", "Patience", "redact"]
