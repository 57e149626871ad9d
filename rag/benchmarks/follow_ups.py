"""Does a follow-up question find its passage? 40 dialogues about the sample documents, without a language model.

    PYTHONPATH=. python benchmarks/follow_ups.py

Each dialogue ends with a question that leans on what was said before. It counts where the first passage holds the
expected words, once as it is asked and once with what is carried over. All of it was written before the rules, which
were made while looking at the first half and at the complete questions; the other half was run at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rag_service.answering.answerer import Answerer
from rag_service.answering.follow_ups import complete
from rag_service.service import Service
from rag_service.settings import read_settings
from rag_service.types import Turn

# What was asked and answered before, one line a turn; then the follow-up and words of the passage that answers it.
DIALOGUES = """
How much sulphur dioxide may a dry red wine hold? > At most 150 milligrams of total sulphur dioxide per litre.
And a dry white one? = at most 200 milligrams per litre
What does cork taint smell of? > A corked wine smells of wet cardboard, damp cellar or mouldy newspaper.
What causes it? = 2,4,6-trichloroanisole
What does malic acid taste of? > Malic acid is the second acid of the grape and tastes of green apple.
Why do hot regions have less of it? = burns more of it on warm nights
How long does a red fermentation take? > A red fermentation at 28 degrees takes about five to seven days.
And a white one? = takes two to four weeks
At what temperature do white wines ferment? > White wines ferment cool, usually between 12 and 18 degrees Celsius.
What about red wines? = between 22 and 30 degrees Celsius
Which port does the prediction service use? > The prediction service listens on port 8000.
And MLflow? = MLflow listens on port 5001
How do I go back to the previous model? > `make rollback` moves the alias back to the version that served before.
How do I do that without containers? = scripts/rollback.py
What is Brettanomyces? > Brettanomyces is a yeast that lives in old barrels.
What does it smell of? = smells of horse sweat
What is Brettanomyces? > Brettanomyces is a yeast that lives in old barrels.
What does it smell of? > It makes 4-ethylphenol, which smells of horse sweat, stable or sticking plaster.
How can I get rid of it? = the only lasting cure
What is chaptalisation? > Adding sugar to the must before fermentation, to raise the alcohol.
Where is it forbidden? = forbidden in many warm countries
What is the density of a dry wine? > Usually between 0.990 and 0.996 grams per cubic centimetre.
How is it measured? = A hydrometer
What does the task train do? > The task train searches among extra trees, random forests and XGBoost.
And verify? = for at most 60 seconds
Where does MLflow keep its database? > MLflow keeps its database in `mlruns/mlflow.db`.
And its files? = its files in `mlruns/artifacts`
How much volatile acid may a red wine hold? > A red wine at most 1.2 grams per litre.
And rosé? = at most 1.08 grams of volatile acid
What does brut mean? > Brut: the word for a sparkling wine with less than 12 grams of sugar per litre.
And extra brut? = extra brut at most 6 grams
At what temperature are red wines tasted? > Red wines at 16 to 18 degrees.
And sparkling ones? = about 10 to 12 degrees Celsius
What is malolactic fermentation? > Malolactic fermentation turns the sharp malic acid into the softer lactic acid.
How long does it take? = two to six weeks
What is malolactic fermentation? > Malolactic fermentation turns the sharp malic acid into the softer lactic acid.
How long does it take? > It takes two to six weeks.
And which wines do not go through it? = Riesling, Sauvignon Blanc
What are chlorides? > Chlorides are the salt of a wine.
How much is recommended at most? = at most one gram of sodium chloride
What is the pH of most white wines? > Most white wines have a pH between 3.0 and 3.4.
Why is that of red wines higher? = they have a higher pH than white wines
What is chaptalisation named after? > The French chemist Jean-Antoine Chaptal.
And when is it allowed? = Where the grapes are not ripe enough
What is phylloxera? > A louse that kills the roots of European vines.
When did it reach Europe? = in the 1860s
What is botrytis? > A fungus, also called noble rot, which shrivels ripe grapes and makes them very sweet.
What does it do on unripe grapes? = called grey rot
What is bentonite used for? > Fining with bentonite, a clay, takes out proteins that would make a white wine cloudy.
And egg white? = egg white softens the tannin
What does an oxidised wine smell of? > An oxidised wine smells of bruised apple, nuts or sherry.
And a reduced one? = smells of rotten eggs
Which modes does the gate have? > The gate has three modes: enforce, dry_run and off.
Which of them promotes every model? = In the mode off every new model is promoted
How do I get Airflow's password? > `make password` prints it.
And the name of the user? = The name of the user is admin
How do I start the containers? > `make up` builds and starts the containers with Docker Compose.
How do I stop them? = `make down` stops them
When is the status 413? > The status is 413 when the body is too large.
And 415? = 415 for a wrong content type
What does the volume rag-data hold? > The volume `rag-data` holds the documents.
What about mlflow-data? = holds all runs, models and the ledger
How is acid taken away in cool regions? > With calcium carbonate or potassium bicarbonate.
And what is done in hot ones? = tartaric acid is added to the must
How much iron makes a white wine cloudy? > More than about eight milligrams of iron per litre.
And copper? = half a milligram of copper
How can a winemaker keep sugar in the wine? > A winemaker who wants sugar to stay has four ways.
Which one is used for port? = which is how port is made
What is free sulphur dioxide? > What remains is called free sulphur dioxide.
When does it become noticeable in the nose? = Above about 50 milligrams per litre
When is the finish of a wine long? > A finish of more than ten seconds is long.
In what is it counted? = counted in seconds
How were the wines of the data set scored? > Scores are given blind, because a label changes what people taste.
By how many tasters? = at least three tasters
What is the alias production? > The model in production is the version that carries the alias `production`.
Who asks for it every two seconds? = asks MLflow's registry every two seconds
What does light strike smell of? > Of cabbage and wet wool.
Which wines suffer most from it? = White and sparkling wines suffer most
What does a mousy wine taste of? > A mousy wine tastes of mouse cage or stale popcorn.
Why can't I smell it? = It can hardly be smelt
Which model writes the answers? > flan-t5-small writes the answer.
What if it cannot be had? = answers by quotation and says so
"""
# Complete in themselves, whatever was said before; beside them, the first questions of all dialogues are.
COMPLETE = """
Is it possible to remove cork taint from a bottle?
How long does it take to finish a red fermentation?
What does the vine do with malic acid while its grapes ripen?
Is there a limit for sulphates in wine?
What happens to a wine if it stands in a hot car?
Why do red wines lose their colour with age?
Is it true that the pH scale is logarithmic?
And how much iron is needed to make a white wine cloudy?
In which folder does the prediction service keep its copies?
Who recommends at most one gram of sodium chloride?
What is this collection about?
Which acid is the one that tastes of green apple?
tartaric acid crystals
Show me how the cap of skins is kept wet.
"""


def dialogues() -> list[tuple[list[Turn], str, str]]:
    found, turns = [], list[Turn]()
    for line in DIALOGUES.strip().splitlines():
        question, earlier, answer = line.partition(" > ")
        if earlier:
            turns.append(Turn(question, answer))
        else:
            question, _, words = line.partition(" = ")
            found.append((turns, question, words))
            turns = []
    return found


def changed() -> list[str]:
    """The complete questions that are changed after each dialogue but their own."""
    talks = [turns for turns, _, _ in dialogues()]
    questions = [*COMPLETE.strip().splitlines(), *(turns[0].question for turns in talks)]
    return sorted(
        {one for one in questions for turns in talks if turns[0].question != one and complete(one, turns) != one}
    )


def row(name: str, answerer: Answerer, asked: Sequence[tuple[str, str]]) -> None:
    found = [answerer.search(question, "default", 4) for question, _ in asked]
    ranks = [
        next((rank for rank, hit in enumerate(hits) if words in " ".join(hit.passage.text.split())), 4)
        for hits, (_, words) in zip(found, asked, strict=True)
    ]
    answers = [answerer.ask(question, "default", 4) for question, _ in asked]
    quoted = sum(
        not answer.abstained and any(words in " ".join(one.quote.split()) for one in answer.citations)
        for answer, (_, words) in zip(answers, asked, strict=True)
    )
    shares = " | ".join(f"{sum(rank < count for rank in ranks) / len(ranks):.3f}" for count in (1, 4))
    print(f"| {name} | {shares} | {quoted / len(asked):.3f} |", flush=True)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Service(read_settings(data_dir=Path(folder), generator="none"))) as service,
    ):
        parts = service.load()
        for file in sorted((Path(__file__).parent.parent / "documents").iterdir()):
            parts.library.add(file.name, file.read_bytes(), "default")
        print("| 20 dialogues each | recall@1 | @4 | quoted |\n| --- | --- | --- | --- |")
        everything = dialogues()
        for half, some in (("looked at", everything[:20]), ("the others", everything[20:])):
            row(f"{half}, as asked", parts.answerer, [(question, words) for _, question, words in some])
            completed = [(complete(question, turns), words) for turns, question, words in some]
            row(f"{half}, carried over", parts.answerer, completed)
            for (_, question, _), (whole, _) in zip(some, completed, strict=True):
                print(f"    {question}  ->  {whole}")
    wrong = changed()
    print(f"\nComplete questions that are changed: {len(wrong)} of {14 + len(everything)}: {wrong}")


if __name__ == "__main__":
    main()
