"""Ready to publish: one version, one author, requirements and links that hold elsewhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"matplotlib": "matplotlib-base"}


@pytest.fixture(scope="module")
def metadata():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def recipe():
    """The conda recipe as rattler-build reads and renders it, which refuses what is none."""
    rattler_build = pytest.importorskip("rattler_build", reason="pip install py-rattler-build")
    text = (ROOT / "conda" / "recipe.yaml").read_text()
    found = rattler_build.Stage0Recipe.from_yaml(text).render(rattler_build.VariantConfig())
    assert len(found) == 1
    return found[0].recipe


def _spaced(requirements):
    """Requirements as conda writes them, by name."""
    parts = (re.fullmatch(r"([\w-]+)(\[\w+\])?(.*)", one) for one in requirements)
    return {f"{CONDA_NAMES.get(p[1], p[1])} {p[3]}".strip() for p in parts if p}


def test_the_recipe_asks_for_what_the_package_asks_for(metadata, recipe):
    project, build = metadata["project"], metadata["build-system"]
    python = f"python {project['requires-python']}"
    asked = {str(one) for one in recipe.requirements.run}
    assert asked == {python, *_spaced(project["dependencies"])}
    there = {str(one) for one in recipe.requirements.host}
    assert there == {python, "pip", *_spaced(build["requires"])}


def test_version_author_licence_and_words_are_the_same_everywhere(metadata, recipe):
    project = metadata["project"]
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {project['version']}\n" in cited
    assert f"\nlicense: {project['license']}\n" in cited
    assert f"  - name: {project['authors'][0]['name']}\n" in cited
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    assert str(recipe.package.version) == project["version"]
    assert recipe.about.summary == project["description"]


def test_the_page_of_a_package_index_links_to_nothing_beside_it(metadata):
    hook = metadata["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / part["path"]).read_text() for part in hook["fragments"])
    assert re.search(r"\]\((?!https?:)", text), "nothing to mend: the hook can go"
    for one in hook["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert not re.findall(r"\]\((?!https?:|#)[^)]*\)", text)
    assert "https://arxiv.org/abs/2307.13421" in text and "![" not in text
