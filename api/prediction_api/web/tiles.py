"""What the overview is made of: the page shows it, and `make status` prints it."""

from datetime import UTC, datetime

from pydantic import BaseModel


class Fact(BaseModel):
    """One line of a tile; `bad` asks somebody to act."""

    name: str
    text: str
    bad: bool = False


class Point(BaseModel):
    at: datetime
    value: float
    bad: bool


class Trend(BaseModel):
    """A figure over the monitor's windows, oldest first; a window with `bad` was alarming."""

    name: str
    limit: float
    points: list[Point]


class Link(BaseModel):
    """`path` begins at the page that the navigation calls `page`."""

    text: str
    page: str
    path: str


class Tile(BaseModel):
    """`away`: in one sentence why facts are missing, and what to do about it."""

    title: str
    facts: list[Fact] = []
    trends: list[Trend] = []
    links: list[Link] = []
    away: str | None = None

    def add(self, name: str, text: str, bad: bool = False) -> None:
        self.facts.append(Fact(name=name, text=text, bad=bad))


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def figure(value: float) -> str:
    """With four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def counted(number: float, noun: str) -> str:
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"
