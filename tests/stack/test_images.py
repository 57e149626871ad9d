"""The images' recipes: what they copy reaches Docker."""

from pathlib import Path

import pytest

from stack.settings import ROOT

RECIPES = [path.relative_to(ROOT) for path in sorted(ROOT.glob("*/Dockerfile"))]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_what_a_recipe_copies_is_there_and_is_not_left_out(recipe: Path) -> None:
    """Each list leaves out everything but what it names."""
    own, folder = ROOT / f"{recipe}.dockerignore", ROOT / recipe.parent
    context, listed = (ROOT, own) if own.exists() else (folder, folder / ".dockerignore")
    let_in = [line[1:] for line in listed.read_text().splitlines() if line.startswith("!")] if listed.exists() else None
    copies = [line.split()[1:-1] for line in (ROOT / recipe).read_text().splitlines() if line.startswith("COPY ")]
    sources = [source for copy in copies if not copy[0].startswith("--from") for source in copy if source[:2] != "--"]
    assert sources
    for source in sources:
        assert (context / source).exists()
        assert let_in is None or any(source == one or source.startswith(f"{one}/") for one in let_in), source
