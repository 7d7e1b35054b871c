"""The report's page, made of its sections; no part fails because another is not there."""

from datetime import date
from importlib import resources

import jinja2

from jobs.report import inventory, models, numbers, scores
from jobs.report.page import sections
from jobs.report.page.model_sections import model_section


def render(root: str, day: date) -> str:
    """The page for one date, complete in one string of HTML.

    Raises:
        MissingDataError: there is no such root.
    """
    below = sections.Below(root, day, {held.path: held for held in inventory.holdings(root)})
    scored = scores.read(root, day)
    trained = models.trained(root, day)
    context = {
        "day": day,
        "source": sections.source(below),
        "dates": numbers.span(sections.shown_dates(below)),
        "logs": sections.log_section(below),
        "rows": sections.row_section(below),
        "funnels": sections.funnels(below),
        "quality": sections.quality_section(below),
        "groups": sections.group_section(below),
        "channels": sections.channel_section(below),
        "levels": sections.level_section(below),
        "models": [model_section(model, scored.get(model), trained, day) for model in models.MODELS],
        "published": [each for each in trained if each.exported],
        "trained": trained,
        "attribution": below.settings("labels/target_groups"),
    }
    return template("page.html").render(**context)


def template(name: str) -> jinja2.Template:
    """One of the templates of this folder, which may include and import the others."""
    loader = jinja2.FunctionLoader(lambda each: resources.files("jobs.report.page").joinpath(each).read_text("utf-8"))
    made = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"count": numbers.count, "percent": numbers.percent, "decimal": numbers.decimal}
    made.tests["missing"] = lambda part: isinstance(part, sections.Missing)
    return made.get_template(name)
