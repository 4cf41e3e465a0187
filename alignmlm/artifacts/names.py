"""Names of files and folders that one part of alignmlm writes and another reads."""

RECIPE = "recipe.yaml"  # in a run
LAUNCH, LOGS = "launch", "logs"  # in a run: what a launcher puts there before the run starts
EXPORT = "export"  # in a run: the model of its last checkpoint
DESCRIPTION = "alignmlm.json"  # in an export: what the model is, and the hashes of its files
LOCK = "run.lock"  # in a run: held by the process that trains it
SUMMARY = "summary.json"  # in a finished run
CURVES = "curves.png"  # in a finished run, drawn after the summary was written
EVALUATION = "evaluation"  # in a run: the results of its export
RESULTS = "results.json"
STUDY = "study.json"
WORDS = "words.json"  # in a run: words and their nearest ones in the other language
