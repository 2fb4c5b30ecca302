"""One HTML page about one model and one task, and its tables: the results of every analysis."""

from lensdepth.report.build import Report, build_report
from lensdepth.report.plan import ReportPlan, plan_report

__all__ = ["Report", "ReportPlan", "build_report", "plan_report"]
