"""One page about a fitted model, to look at and to send: a single HTML file that needs no network.

`find` computes, the section modules put into words and figures, `page` makes HTML of them.
"""

from longtail.report.assemble import make_report
from longtail.report.findings import ReportSettings
from longtail.report.page import Report, check_report_path

__all__ = ["Report", "ReportSettings", "check_report_path", "make_report"]
