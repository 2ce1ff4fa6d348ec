"""Sphinx: the guide, the gallery, and the API from the docstrings. Warnings are errors."""

project = "Clew"
copyright = "2026, the Clew developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_title = "Clew"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes of two classes may have one name


def put_examples_apart(app, what, name, obj, options, lines):
    """Give the doctest at the end of a docstring a section of its own, for Napoleon."""
    sections = [i for i, line in enumerate(lines) if line and set(line) == {"-"}]
    examples = [i for i, line in enumerate(lines) if line.startswith(">>>")]
    if sections and examples and examples[0] > sections[0]:
        heading = lines[sections[-1] - 1] if sections[-1] < examples[0] else ""
        if heading != "Examples":
            lines[examples[0] : examples[0]] = ["Examples", "--------"]


def setup(app):
    """Run before Napoleon does."""
    app.connect("autodoc-process-docstring", put_examples_apart, priority=400)
