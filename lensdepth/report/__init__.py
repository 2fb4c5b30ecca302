"""One HTML page about one model and one task, and its tables: the results of every analysis."""

from lensdepth.report.build import Report, build_report
from lensdepth.report.compare import compare_reports
from lensdepth.report.comparison import ReportComparison
from lensdepth.report.gallery import write_figures
from lensdepth.report.plan import ReportPlan, plan_report

__all__ = [
    "Report",
    "ReportComparison",
    "ReportPlan",
    "build_report",
    "compare_reports",
    "plan_report",
    "write_figures",
]
