"""One self-contained HTML file: no request to any other place, under 500 KB, its own JSON inside."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from abi.report import division, features, quality
from abi.report.content import Report, without_credentials
from abi.report.embed import pack
from abi.report.excerpt import excerpt
from abi.report.modalities import modalities
from abi.report.over_time import over_time
from abi.report.pictures import pictures
from abi.report.robust import robustness
from abi.report.template import style, template
from abi.report.texts import texts
from abi.report.transfer import transfer_sentence
from abi.report.where import where
from abi.report.wording import clean

LIMIT_BYTES = 480_000
_LEAST_JSON_BYTES = 20_000


def render(report: Report, sections: dict[str, Any] | None = None) -> str:
    """The page of a run; the same report gives the same bytes.

    Of a text's terms it has those that the models list. Values that would take the page past its limit all the same are
    left out of its JSON, and named there.

    Args:
        report: what to show.
        sections: `draw` of the same report but for its provenance, where that is at hand.
    """
    report = _short(report)
    drawn = _drawn(report) if sections is None else sections
    view = {**drawn, "provenance": quality.provenance(report), "json": Markup()}
    page = template("page.html.j2")
    bare = len(page.render(view).encode())
    packed = pack(report, max(LIMIT_BYTES - bare, _LEAST_JSON_BYTES))
    view["json"] = Markup(packed)  # noqa: S704 - `pack` escapes what could end the element
    return page.render(view)


def draw(report: Report) -> dict[str, Any]:
    """Every section but the provenance, which grows while a run is recorded; the charts take most of a page's time."""
    return _drawn(_short(report))


def _short(report: Report) -> Report:
    return excerpt(without_credentials(report))


def _drawn(report: Report) -> dict[str, Any]:
    return {
        "name": clean(report.name, 80),
        "data_name": clean(report.data_name, 80),
        "created": clean(report.created[:16].replace("T", " "), 40),
        "opening": quality.opening(report),
        "checks": features.checks(report),
        "scores": features.scores(report),
        "attention": features.attention(report),
        "over_time": over_time(report),
        "pictures": pictures(report),
        "modalities": modalities(report),
        "texts": texts(report),
        "plan": division.plan(report),
        "actual": quality.actual(report),
        "where": where(report),
        "quality": quality.quality(report),
        "transfer": transfer_sentence(report.evaluation),
        "robustness": robustness(report.evaluation.robustness),
        "style": style(),
    }
