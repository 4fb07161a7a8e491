"""The schema, as a list of migrations that is only ever appended to.

A comment after a column's definition, and the first one in a table or view, is its description: SQLite keeps it with
the schema, and `schema_markdown` prints it.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from zoomgap.storage.views import VIEWS_1, VIEWS_2, VIEWS_7, VIEWS_11

MIGRATIONS = Migrations("zoomgap")

TABLES_1 = (
    """CREATE TABLE images ( -- Originals, views and crops, named by their content.
    sha256 TEXT PRIMARY KEY CHECK(length(sha256) = 64), -- of the encoded bytes
    media_type TEXT NOT NULL, -- as in image/jpeg
    width INTEGER NOT NULL CHECK(width > 0), -- pixels
    height INTEGER NOT NULL CHECK(height > 0), -- pixels
    bytes INTEGER NOT NULL, -- length of the encoded file
    path TEXT NOT NULL, -- of the file, from the folder of this database
    thumbnail BLOB NOT NULL -- small JPEG, longer side at most 96 px
) STRICT""",
    """CREATE TABLE benchmarks ( -- Sets of samples. A name never changes its content.
    name TEXT PRIMARY KEY, -- as in micro-8000000-500
    sha256 TEXT NOT NULL, -- over all samples
    n INTEGER NOT NULL, -- number of samples
    source TEXT NOT NULL CHECK(json_valid(source)), -- where it comes from: generator and seeds, or file and licence
    created TEXT NOT NULL -- UTC
) STRICT""",
    """CREATE TABLE samples ( -- One question about one image.
    benchmark TEXT NOT NULL REFERENCES benchmarks(name), -- set that it belongs to
    id TEXT NOT NULL, -- stable within the benchmark
    position INTEGER NOT NULL, -- order within the benchmark, from 0
    image TEXT NOT NULL REFERENCES images(sha256), -- the original
    width INTEGER NOT NULL, -- of the original, pixels
    height INTEGER NOT NULL, -- of the original, pixels
    question TEXT NOT NULL, -- without its choices
    choices TEXT NOT NULL CHECK(json_valid(choices)), -- list of option texts; [] for an open question
    answer TEXT NOT NULL, -- the gold; for choices its letter
    answer_kind TEXT NOT NULL CHECK(answer_kind IN ('choice', 'integer', 'text')), -- form of the answer
    dimension TEXT NOT NULL, -- counting, ocr, color, structure, material, object, or the set's own
    evidence TEXT NOT NULL CHECK(json_valid(evidence)), -- a box for each thing to be seen: xyxy pixels of the original
    evidence_kind TEXT CHECK(evidence_kind IN ('tight', 'region')), -- how closely the boxes fit
    cluster TEXT NOT NULL, -- questions that share an image or are reorderings of one another
    detail_px REAL, -- side of the smallest mark that decides the answer, pixels of the original
    meta TEXT NOT NULL CHECK(json_valid(meta)), -- facts of the set that grading and arms do not read
    PRIMARY KEY (benchmark, id)
) STRICT""",
    """CREATE TABLE runs ( -- The identity of answers: all that can change one.
    id TEXT PRIMARY KEY, -- first 12 hex digits of the hash over all that follows
    benchmark TEXT NOT NULL REFERENCES benchmarks(name), -- samples that it answers
    benchmark_sha256 TEXT NOT NULL, -- content of the benchmark
    arm TEXT NOT NULL, -- what the model sees: direct, agent, ...
    model TEXT NOT NULL, -- name
    weights TEXT, -- sha256 of an in-process model's weights
    endpoint TEXT, -- address of a served model
    prompts TEXT NOT NULL, -- sha256 over the templates
    sampling TEXT NOT NULL CHECK(json_valid(sampling)), -- temperature, top_p, max_tokens, seed, stop
    view_pixels INTEGER NOT NULL, -- budget of the full image
    crop_pixels INTEGER NOT NULL, -- budget of a crop
    factor INTEGER NOT NULL, -- sides of what is sent are its multiples
    max_zooms INTEGER NOT NULL, -- crops that an agent may ask for
    image_return TEXT NOT NULL, -- role of the message that carries a crop: user or tool
    convention TEXT NOT NULL, -- how the model writes boxes
    suffix INTEGER NOT NULL CHECK(suffix IN (0, 1)), -- whether questions end with a sentence on the answer's form
    dtype TEXT, -- number format of an in-process model
    attempts INTEGER NOT NULL, -- answers for each sample
    created TEXT NOT NULL -- UTC
) STRICT""",
    """CREATE TABLE invocations ( -- Each time that a command worked on a run. Timings pool within one only.
    id TEXT PRIMARY KEY, -- unique
    run TEXT NOT NULL REFERENCES runs(id), -- run that was worked on
    started TEXT NOT NULL, -- UTC
    seconds REAL, -- how long it took; null while it works, and when it was killed
    circumstances TEXT NOT NULL CHECK(json_valid(circumstances)) -- concurrency, code revision, packages, processor
) STRICT""",
    """CREATE TABLE prompts ( -- Prompt texts by content.
    sha256 TEXT PRIMARY KEY, -- of the text
    text TEXT NOT NULL -- as used
) STRICT""",
    """CREATE TABLE trajectories ( -- One arm's way to one answer.
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    run TEXT NOT NULL REFERENCES runs(id), -- with sample and attempt the natural key
    benchmark TEXT NOT NULL, -- of the run
    sample TEXT NOT NULL, -- id within the benchmark
    attempt INTEGER NOT NULL CHECK(attempt >= 0), -- from 0
    invocation TEXT NOT NULL REFERENCES invocations(id), -- under which circumstances
    stop_reason TEXT NOT NULL CHECK(stop_reason IN ('answered', 'budget', 'repeated_box', 'unparsable_call', 'context',
        'endpoint_error', 'cancelled')), -- endpoint_error and cancelled are tried again when the run goes on
    text TEXT NOT NULL, -- final reply; '' when there was none
    error TEXT, -- what went wrong
    wall_ms REAL NOT NULL, -- from question to answer
    model_ms REAL, -- sum over the steps, as all that follow; null where nothing is known
    preprocess_ms REAL, -- image preparation inside the model
    tool_ms REAL, -- cutting crops
    prompt_tokens INTEGER, -- images included
    completion_tokens INTEGER, -- generated
    image_tokens INTEGER, -- part of prompt_tokens
    pixels_sent INTEGER NOT NULL, -- of all images in all requests
    turns INTEGER NOT NULL, -- number of steps
    zooms INTEGER NOT NULL, -- number of crops sent back
    cost REAL, -- money, where a price is known
    steps_sha256 TEXT NOT NULL, -- digest of the steps, checked on reading
    created TEXT NOT NULL, -- UTC
    FOREIGN KEY (benchmark, sample) REFERENCES samples(benchmark, id),
    UNIQUE (run, sample, attempt)
) STRICT""",
    """CREATE TABLE steps ( -- One call of the model and what came of it.
    trajectory INTEGER NOT NULL REFERENCES trajectories(id) ON DELETE CASCADE, -- that it is part of
    step INTEGER NOT NULL CHECK(step >= 0), -- from 0
    request TEXT NOT NULL CHECK(json_valid(request)), -- chat-completions body as sent, images as sha256:...
    text TEXT NOT NULL, -- reply as written
    reasoning TEXT NOT NULL, -- '' where the model gave none
    tool_call TEXT CHECK(tool_call IS NULL OR json_valid(tool_call)), -- id, name and arguments as written
    frame INTEGER, -- image that the box is written in: 0 the whole, k the k-th crop
    convention TEXT, -- how the model writes boxes
    box_written TEXT CHECK(box_written IS NULL OR json_valid(box_written)), -- four numbers as the model wrote them
    box TEXT CHECK(box IS NULL OR json_valid(box)), -- crop that was taken: xyxy pixels of the original
    label TEXT, -- what the model said it looks for
    observation TEXT REFERENCES images(sha256), -- crop that was sent back
    prompt_tokens INTEGER, -- images included
    completion_tokens INTEGER, -- generated
    image_tokens INTEGER, -- part of prompt_tokens
    model_ms REAL, -- the whole call as the caller waits for it
    preprocess_ms REAL, -- image preparation inside the model
    first_byte_ms REAL, -- until the reply began
    generation_ms REAL, -- writing the reply
    batch_size INTEGER NOT NULL, -- requests that ran together
    tool_ms REAL, -- cutting the crop
    confidence REAL, -- the model's own, 0 to 1
    finish_reason TEXT, -- as the model gave it
    error TEXT, -- what went wrong
    PRIMARY KEY (trajectory, step)
) STRICT""",
    """CREATE TABLE grades ( -- Verdicts. The row with the highest id counts; regrading adds rows.
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of grading
    trajectory INTEGER NOT NULL REFERENCES trajectories(id) ON DELETE CASCADE, -- what was graded
    grader TEXT NOT NULL, -- name and version
    verdict TEXT NOT NULL CHECK(verdict IN ('correct', 'incorrect', 'unparsed', 'error')), -- an error is no answer
    rule TEXT NOT NULL, -- that read the answer
    answer TEXT, -- what was read
    span_start INTEGER, -- where it stands in the reply
    span_end INTEGER, -- exclusive
    created TEXT NOT NULL -- UTC
) STRICT""",
    """CREATE TABLE regions ( -- Places worth asking about, proposed from an agent's crops.
    id TEXT PRIMARY KEY, -- by content
    benchmark TEXT NOT NULL, -- of the sample
    sample TEXT NOT NULL, -- that the agent was asked about
    image TEXT NOT NULL REFERENCES images(sha256), -- the original
    box TEXT NOT NULL CHECK(json_valid(box)), -- xyxy pixels of the original
    label TEXT NOT NULL, -- what the agent looked for
    trajectory INTEGER NOT NULL, -- where the crop was taken
    step INTEGER NOT NULL, -- step of that trajectory
    FOREIGN KEY (benchmark, sample) REFERENCES samples(benchmark, id),
    FOREIGN KEY (trajectory, step) REFERENCES steps(trajectory, step)
) STRICT""",
    """CREATE TABLE questions ( -- Questions about regions.
    id TEXT PRIMARY KEY, -- by content
    region TEXT NOT NULL REFERENCES regions(id), -- that it asks about
    text TEXT NOT NULL, -- without its choices
    choices TEXT NOT NULL CHECK(json_valid(choices)), -- list of option texts
    answer_kind TEXT NOT NULL CHECK(answer_kind IN ('choice', 'integer', 'text')), -- form of the answer
    dimension TEXT NOT NULL, -- of the sample behind it
    local INTEGER NOT NULL CHECK(local IN (0, 1)) -- 1: asked of the crop alone, so the full image needs the box
) STRICT""",
    """CREATE TABLE votes ( -- Answers to questions by those who label. A failed vote is tried again.
    question TEXT NOT NULL REFERENCES questions(id), -- that was asked
    labels TEXT NOT NULL, -- what was shown: agent, self, random-crop, gold
    voter TEXT NOT NULL, -- model, or benchmark for gold
    number INTEGER NOT NULL, -- of the vote, from 0
    answer TEXT, -- null when the vote failed
    error TEXT, -- why it failed
    PRIMARY KEY (question, labels, voter, number)
) STRICT""",
    """CREATE TABLE datasets ( -- What students are trained on.
    name TEXT PRIMARY KEY, -- as in micro-agent
    config TEXT NOT NULL CHECK(json_valid(config)), -- how it was built
    created TEXT NOT NULL -- UTC
) STRICT""",
    """CREATE TABLE items ( -- Training examples: full image, question, answer.
    id TEXT PRIMARY KEY, -- by content
    dataset TEXT NOT NULL REFERENCES datasets(name), -- that it belongs to
    position INTEGER NOT NULL, -- order within the dataset, from 0
    question TEXT NOT NULL REFERENCES questions(id), -- what it came from
    sample TEXT NOT NULL, -- whose image it shows
    image TEXT NOT NULL REFERENCES images(sha256), -- the original
    text TEXT NOT NULL, -- question as the student reads it
    choices TEXT NOT NULL CHECK(json_valid(choices)), -- list of option texts
    answer TEXT NOT NULL, -- target; for choices a letter
    answer_kind TEXT NOT NULL CHECK(answer_kind IN ('choice', 'integer', 'text')), -- form of the answer
    dimension TEXT NOT NULL, -- of the question
    overlay TEXT CHECK(overlay IS NULL OR json_valid(overlay)), -- box drawn on the image: xyxy pixels of the original
    labels TEXT NOT NULL, -- who answered: agent, self, random-crop, gold
    agreement REAL NOT NULL, -- share of the votes for the answer, 0 to 1
    gold INTEGER NOT NULL CHECK(gold IN (0, 1)) -- 1: its label or region read the benchmark's answer or evidence
) STRICT""",
    """CREATE TABLE trainings ( -- Students that were trained.
    id TEXT PRIMARY KEY, -- unique
    config TEXT NOT NULL CHECK(json_valid(config)), -- dataset, base checkpoint and settings
    metrics TEXT NOT NULL CHECK(json_valid(metrics)), -- what was measured while training
    out TEXT NOT NULL, -- folder of the checkpoint
    created TEXT NOT NULL -- UTC
) STRICT""",
    "CREATE INDEX samples_image ON samples(image)",
    "CREATE INDEX runs_benchmark ON runs(benchmark)",
    "CREATE INDEX invocations_run ON invocations(run)",
    "CREATE INDEX trajectories_sample ON trajectories(benchmark, sample, attempt)",
    "CREATE INDEX trajectories_invocation ON trajectories(invocation)",
    "CREATE INDEX steps_observation ON steps(observation)",
    "CREATE INDEX grades_trajectory ON grades(trajectory)",
    "CREATE INDEX regions_step ON regions(trajectory, step)",
    "CREATE INDEX regions_sample ON regions(benchmark, sample)",
    "CREATE INDEX questions_region ON questions(region)",
    "CREATE INDEX items_dataset ON items(dataset, position)",
    "CREATE INDEX items_question ON items(question)",
)


@MIGRATIONS()
def m001_records(db: Database) -> None:
    """All records from images to trainings, and the views."""
    for statement in TABLES_1 + VIEWS_1:
        db.conn.execute(statement)


ADDED: dict[tuple[str, str], str] = {
    ("steps", "call"): "k: call number k of a reply, in a step without a request of its own; null: the first",
    ("steps", "turn"): "degrees by which what was sent back is turned clockwise; null for none",
    ("steps", "picture"): "which of the question's pictures the box is in, from 0; null for the first",
    ("runs", "tools"): "offered to an agent",
    ("runs", "padding"): "share of a box's sides added on each side of a crop",
    ("runs", "renders_tools"): "whether the model's chat template shows tools",
    ("runs", "dialect"): "how the model is told to write calls",
    ("runs", "wire"): "to the endpoint: chat completions or responses",
    ("runs", "match"): "run whose image tokens direct-matched gets",
    ("runs", "resize"): "what the model's processor does to an image, where boxes are counted in its pixels; else none",
    ("runs", "min_pixels"): "number of that rule, as the next three: least area; 0 where it is not used",
    ("runs", "max_pixels"): "largest area",
    ("runs", "tile"): "side of a tile, pixels",
    ("runs", "max_side"): "longest side, pixels",
    ("runs", "max_images"): "images that one request may hold, where an agent could come to have more",
    ("runs", "variant"): "k: the options in the k-th other order, the form asked for in the k-th other words; 0: as is",
    ("samples", "crop"): "the set's own picture of the region",
    ("samples", "more_images"): "pictures that the question is about besides the first, by sha256",
    ("runs", "min_crop_pixels"): "a crop of fewer pixels is enlarged to so many",
    ("steps", "min_probability"): "smallest probability of a token that it wrote, 0 to 1",
    ("steps", "margin"): "log of how many times likelier the answer's deciding token was than its rival",
    ("steps", "model"): "that was asked, where it is another than the run's",
    ("runs", "router"): "sha256 of what the arm router decides by; its text is in prompts",
    ("runs", "agent"): "sha256 of the settings by which the arm router zooms; their text is in prompts",
    ("runs", "agent_model"): "model of those settings",
    ("invocations", "images"): "renditions drawn and found, originals decoded and decoded again; null until it ends",
}
"""Descriptions of columns that came later: SQLite cannot add a column with a comment to a strict table."""

COLUMNS_2 = (
    "ALTER TABLE steps ADD COLUMN call INTEGER",
    "ALTER TABLE steps ADD COLUMN turn INTEGER",
    """ALTER TABLE runs ADD COLUMN tools TEXT NOT NULL DEFAULT '["zoom_in"]' CHECK(json_valid(tools))""",
    "ALTER TABLE runs ADD COLUMN padding REAL NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN renders_tools INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE runs ADD COLUMN dialect TEXT NOT NULL DEFAULT 'hermes'",
    "ALTER TABLE runs ADD COLUMN wire TEXT NOT NULL DEFAULT 'chat'",
    "ALTER TABLE runs ADD COLUMN match TEXT",
)


@MIGRATIONS()
def m002_calls(db: Database) -> None:
    """Several calls of one reply, turned pictures, and what the agent of a run is offered."""
    for statement in COLUMNS_2:
        db.conn.execute(statement)
    db.conn.execute("DROP VIEW v_steps")
    for statement in VIEWS_2:
        db.conn.execute(statement)


COLUMNS_3 = (
    "ALTER TABLE runs ADD COLUMN resize TEXT NOT NULL DEFAULT 'none'",
    "ALTER TABLE runs ADD COLUMN min_pixels INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN max_pixels INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN tile INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN max_side INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN max_images INTEGER",
)


@MIGRATIONS()
def m003_image_rules(db: Database) -> None:
    """What a run's model does to its images, and how many of them it takes."""
    for statement in COLUMNS_3:
        db.conn.execute(statement)


TABLES_4 = (
    """CREATE TABLE image_hashes ( -- Hashes by which images are compared, computed when they are first needed.
    image TEXT NOT NULL REFERENCES images(sha256), -- that was hashed
    algorithm TEXT NOT NULL, -- phash-256: how it looks; sha256-rgb: its exact size and pixels
    hash TEXT NOT NULL, -- hex
    PRIMARY KEY (image, algorithm)
) STRICT""",
)


@MIGRATIONS()
def m004_image_hashes(db: Database) -> None:
    """Hashes of images."""
    for statement in TABLES_4:
        db.conn.execute(statement)


COLUMNS_5 = (
    "ALTER TABLE samples ADD COLUMN crop TEXT REFERENCES images(sha256)",
    "ALTER TABLE samples ADD COLUMN more_images TEXT NOT NULL DEFAULT '[]' CHECK(json_valid(more_images))",
)


@MIGRATIONS()
def m005_sets(db: Database) -> None:
    """What public sets bring: a picture of the region, and questions about several pictures."""
    for statement in COLUMNS_5:
        db.conn.execute(statement)


CHANGES_6 = (
    "ALTER TABLE runs ADD COLUMN min_crop_pixels INTEGER NOT NULL DEFAULT 16384",
    "UPDATE runs SET min_crop_pixels = crop_pixels",
    "ALTER TABLE invocations ADD COLUMN images TEXT CHECK(images IS NULL OR json_valid(images))",
    """CREATE TABLE renditions ( -- How images were shown: what need not be drawn again.
    source TEXT NOT NULL REFERENCES images(sha256), -- image that it was drawn from
    box TEXT NOT NULL CHECK(json_valid(box)), -- part of it, or all: xyxy pixels of the source
    width INTEGER NOT NULL, -- that the part was resized to, pixels
    height INTEGER NOT NULL, -- as width
    turn INTEGER NOT NULL, -- degrees by which it was then turned clockwise
    drawing INTEGER NOT NULL, -- version of resizing and encoding
    image TEXT NOT NULL REFERENCES images(sha256), -- what came of it
    PRIMARY KEY (source, box, width, height, turn, drawing)
) STRICT, WITHOUT ROWID""",
)


@MIGRATIONS()
def m006_renditions(db: Database) -> None:
    """Pictures are found where they were drawn before; crops have two bounds, which were one until now."""
    for statement in CHANGES_6:
        db.conn.execute(statement)


CHANGES_7 = (
    "DROP VIEW v_runs",
    "DROP VIEW v_trajectories",
    *VIEWS_7,
    "DROP INDEX grades_trajectory",
    "CREATE INDEX grades_trajectory ON grades(trajectory, grader)",
)


@MIGRATIONS()
def m007_graders(db: Database) -> None:
    """Verdicts of judges stand beside those of the rules, and readers are told whose a verdict is."""
    for statement in CHANGES_7:
        db.conn.execute(statement)


TABLES_8 = (
    """CREATE TABLE timing_sessions ( -- Each time that runs were timed against one another, apart from their answers.
    id TEXT PRIMARY KEY, -- unique
    benchmark TEXT NOT NULL REFERENCES benchmarks(name), -- of all its runs
    mode TEXT NOT NULL CHECK(mode IN ('latency', 'throughput')), -- one answer at a time, or several in flight
    started TEXT NOT NULL, -- UTC, after the warm-up
    ended TEXT, -- UTC; null while it works, and where it was cut short
    seed INTEGER NOT NULL, -- of the choice of samples
    samples INTEGER NOT NULL, -- that were to be timed
    rounds INTEGER NOT NULL, -- passes over them
    warm_up INTEGER NOT NULL, -- answers of each run before the first timing, thrown away
    in_flight INTEGER NOT NULL CHECK(in_flight > 0), -- answers under way at once
    runs TEXT NOT NULL CHECK(json_valid(runs)), -- by id, circumstances that are each run's own
    circumstances TEXT NOT NULL CHECK(json_valid(circumstances)) -- of all: code revision, packages, processor, load
) STRICT""",
    """CREATE TABLE timings ( -- One timed answer. Clocks and tokens are sums over its calls, null where one is unknown.
    session TEXT NOT NULL REFERENCES timing_sessions(id), -- that it is part of
    run TEXT NOT NULL REFERENCES runs(id), -- whose arm and model answered
    sample TEXT NOT NULL, -- id within the session's benchmark
    round INTEGER NOT NULL, -- pass over the samples, from 0; in throughput mode the block
    position INTEGER NOT NULL, -- place of the run within its turn, from 0
    wall_ms REAL NOT NULL, -- from question to answer
    view_ms REAL, -- drawing the first images; null with several answers in flight
    model_ms REAL, -- whole calls as the caller waits for them
    preprocess_ms REAL, -- image preparation inside the model
    first_byte_ms REAL, -- until each reply began
    tool_ms REAL, -- cutting crops; 0 where none was cut
    prompt_tokens INTEGER, -- images included
    completion_tokens INTEGER, -- generated
    image_tokens INTEGER, -- part of prompt_tokens
    pixels_sent INTEGER NOT NULL, -- of all images in all requests
    turns INTEGER NOT NULL, -- calls of the model
    zooms INTEGER NOT NULL, -- crops sent back
    verdict TEXT NOT NULL CHECK(verdict IN ('correct', 'incorrect', 'unparsed', 'error')), -- an error is no timing
    error TEXT, -- what went wrong
    PRIMARY KEY (session, run, round, sample)
) STRICT""",
    """CREATE TABLE timing_blocks ( -- Turns of runs in throughput mode.
    session TEXT NOT NULL REFERENCES timing_sessions(id), -- that it is part of
    run TEXT NOT NULL REFERENCES runs(id), -- whose turn it was
    block INTEGER NOT NULL, -- from 0
    position INTEGER NOT NULL, -- place of the run within its turn, from 0
    answers INTEGER NOT NULL, -- that came
    errors INTEGER NOT NULL, -- that came instead of answers
    seconds REAL NOT NULL CHECK(seconds > 0), -- until the last of them
    PRIMARY KEY (session, run, block)
) STRICT""",
)


@MIGRATIONS()
def m008_timings(db: Database) -> None:
    """Times of runs that were taken in turn, apart from their answers."""
    for statement in TABLES_8:
        db.conn.execute(statement)


COLUMNS_9 = (
    "ALTER TABLE steps ADD COLUMN min_probability REAL",
    "ALTER TABLE steps ADD COLUMN margin REAL",
    "ALTER TABLE steps ADD COLUMN model TEXT",
    "ALTER TABLE runs ADD COLUMN router TEXT",
    "ALTER TABLE runs ADD COLUMN agent TEXT",
    "ALTER TABLE runs ADD COLUMN agent_model TEXT",
)


@MIGRATIONS()
def m009_routers(db: Database) -> None:
    """How sure a model was of its answers, and the runs in which that decides whether to zoom."""
    for statement in COLUMNS_9:
        db.conn.execute(statement)


CHANGES_10 = (
    "ALTER TABLE runs ADD COLUMN variant INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE plans ( -- What comparisons will be judged by, stored before the runs. Never changed.
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of storing
    benchmark TEXT NOT NULL REFERENCES benchmarks(name), -- that is compared on
    margin REAL NOT NULL CHECK(margin > 0 AND margin < 1), -- of equivalence, as a share
    power REAL NOT NULL CHECK(power > 0 AND power < 1), -- chance of finding what is called detectable
    level REAL NOT NULL CHECK(level > 0 AND level < 1), -- of tests; intervals have 1 - level
    created TEXT NOT NULL -- UTC
) STRICT""",
)


@MIGRATIONS()
def m010_plans(db: Database) -> None:
    """Margins that are fixed before a run, and runs that ask in another order and other words."""
    for statement in CHANGES_10:
        db.conn.execute(statement)


CHANGES_11 = ("ALTER TABLE steps ADD COLUMN picture INTEGER", "DROP VIEW v_steps", *VIEWS_11)


@MIGRATIONS()
def m011_pictures(db: Database) -> None:
    """Agents on questions about several pictures."""
    for statement in CHANGES_11:
        db.conn.execute(statement)
