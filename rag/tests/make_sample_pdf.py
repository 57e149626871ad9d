"""Make documents/vinho-verde.pdf of the sample collection from its Markdown source.

It needs fpdf2, which nothing else does:

    pip install fpdf2==2.8.9 && python tests/make_sample_pdf.py        (from rag/)
"""

from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

RAG = Path(__file__).resolve().parents[1]
SOURCE = RAG / "tests" / "data" / "vinho-verde.md"
OUTPUT = RAG / "documents" / "vinho-verde.pdf"
PAGE_BREAK = "\n---\n"


def make(source: str) -> bytes:
    """The PDF: one page for each part after the first, which is the source's own note."""
    pdf = FPDF(format="A4")
    pdf.set_title("Vinho verde")
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))  # the same bytes every time
    pdf.set_margin(25)
    for page in source.split(PAGE_BREAK)[1:]:
        pdf.add_page()
        for block in page.strip().split("\n\n"):
            title = block.lstrip("# ")
            level = len(block) - len(block.lstrip("#"))
            pdf.set_font("Times", "B" if level else "", {0: 11, 1: 18, 2: 13}[level])
            pdf.multi_cell(0, 7 if level else 5.5, title, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(2)
    return bytes(pdf.output())


if __name__ == "__main__":
    OUTPUT.write_bytes(make(SOURCE.read_text(encoding="utf-8")))
    print(f"wrote {OUTPUT}")
