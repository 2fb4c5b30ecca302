"""One HTML page about one model and one task, and its tables: the results of every analysis."""

from lensdepth.report.build import Report, build_report

__all__ = ["Report", "build_report"]
