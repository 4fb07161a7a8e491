"""Views for people and Datasette. A migration that changes one adds a new list; an old list stays as it is."""

from __future__ import annotations

VIEWS_1 = (
    """CREATE VIEW v_trajectories AS -- Every answer with its question, its newest verdict and what it took.
SELECT t.id, t.run, r.arm, r.model, t.benchmark, t.sample, t.attempt, t.invocation,
    s.dimension, s.question, s.choices, s.answer AS gold, t.text, g.answer,
    CASE WHEN t.stop_reason IN ('endpoint_error', 'cancelled') THEN 'error' ELSE g.verdict END AS verdict,
    t.stop_reason, t.error, t.turns, t.zooms, t.wall_ms, t.model_ms, t.preprocess_ms, t.tool_ms,
    t.prompt_tokens, t.completion_tokens, t.image_tokens, t.pixels_sent, t.cost, t.created, s.image, i.thumbnail
FROM trajectories t
JOIN runs r ON r.id = t.run
JOIN samples s ON s.benchmark = t.benchmark AND s.id = t.sample
JOIN images i ON i.sha256 = s.image
LEFT JOIN grades g ON g.id = (SELECT max(id) FROM grades WHERE trajectory = t.id)""",
    """CREATE VIEW v_runs AS -- Every run: accuracy leaves errors out, service_accuracy counts them as wrong.
SELECT r.id, r.benchmark, r.arm, r.model, b.n AS samples, count(t.id) AS attempted,
    count(t.id) FILTER (WHERE t.verdict IN ('correct', 'incorrect')) AS answered,
    count(t.id) FILTER (WHERE t.verdict = 'unparsed') AS unparsed,
    count(t.id) FILTER (WHERE t.verdict = 'error') AS errors,
    count(t.id) FILTER (WHERE t.verdict IS NULL) AS ungraded,
    count(t.id) FILTER (WHERE t.verdict = 'correct') AS correct,
    avg(t.verdict = 'correct') FILTER (WHERE t.verdict <> 'error') AS accuracy,
    avg(t.verdict = 'correct') AS service_accuracy,
    avg(t.turns) AS turns, avg(t.zooms) AS zooms, avg(t.wall_ms) AS wall_ms, avg(t.model_ms) AS model_ms,
    sum(t.prompt_tokens) AS prompt_tokens, sum(t.completion_tokens) AS completion_tokens,
    sum(t.image_tokens) AS image_tokens, sum(t.cost) AS cost, r.created
FROM runs r
JOIN benchmarks b ON b.name = r.benchmark
LEFT JOIN v_trajectories t ON t.run = r.id
GROUP BY r.id""",
    """CREATE VIEW v_steps AS -- Every step with the crop that it brought.
SELECT p.trajectory, p.step, t.run, r.arm, t.sample, t.attempt, p.text, p.reasoning, p.tool_call, p.frame,
    p.convention, p.box_written, p.box, p.label, p.error, p.finish_reason, p.prompt_tokens, p.completion_tokens,
    p.image_tokens, p.model_ms, p.tool_ms, p.batch_size, p.confidence, p.observation, i.thumbnail
FROM steps p
JOIN trajectories t ON t.id = p.trajectory
JOIN runs r ON r.id = t.run
LEFT JOIN images i ON i.sha256 = p.observation""",
    """CREATE VIEW v_ab AS -- Every ordered pair of runs on one sample; outcome is null where either has no verdict.
SELECT a.benchmark, a.sample, a.attempt, a.dimension, a.question, a.gold,
    a.run AS run_a, a.arm AS arm_a, a.model AS model_a, a.id AS trajectory_a, a.verdict AS verdict_a, a.text AS text_a,
    b.run AS run_b, b.arm AS arm_b, b.model AS model_b, b.id AS trajectory_b, b.verdict AS verdict_b, b.text AS text_b,
    CASE WHEN a.verdict = 'error' OR b.verdict = 'error' OR a.verdict IS NULL OR b.verdict IS NULL THEN NULL
        WHEN a.verdict = 'correct' AND b.verdict = 'correct' THEN 'both'
        WHEN a.verdict = 'correct' THEN 'only_a'
        WHEN b.verdict = 'correct' THEN 'only_b'
        ELSE 'neither' END AS outcome,
    a.zooms AS zooms_a, b.zooms AS zooms_b, a.wall_ms AS wall_ms_a, b.wall_ms AS wall_ms_b, a.image, a.thumbnail
FROM v_trajectories a
JOIN v_trajectories b ON b.benchmark = a.benchmark AND b.sample = a.sample AND b.attempt = a.attempt
    AND b.run <> a.run""",
    """CREATE VIEW v_items AS -- Every training item, traced back to the agent's step and the image.
SELECT m.id, m.dataset, m.position, m.text, m.choices, m.answer, m.answer_kind, m.dimension, m.labels, m.agreement,
    m.gold, m.overlay, m.question, q.local, q.region, g.box AS region_box, g.label AS region_label, g.benchmark,
    m.sample, g.trajectory, g.step, t.run, r.model AS teacher, p.observation AS crop, m.image, i.thumbnail
FROM items m
JOIN questions q ON q.id = m.question
JOIN regions g ON g.id = q.region
JOIN trajectories t ON t.id = g.trajectory
JOIN runs r ON r.id = t.run
JOIN steps p ON p.trajectory = g.trajectory AND p.step = g.step
JOIN images i ON i.sha256 = m.image""",
)

VIEWS_2 = (
    """CREATE VIEW v_steps AS -- Every step with the picture that it brought.
SELECT p.trajectory, p.step, t.run, r.arm, t.sample, t.attempt, coalesce(p.call, 0) AS call, p.text, p.reasoning,
    p.tool_call, p.frame, p.convention, p.box_written, p.box, coalesce(p.turn, 0) AS turn, p.label, p.error,
    p.finish_reason, p.prompt_tokens, p.completion_tokens, p.image_tokens, p.model_ms, p.tool_ms, p.batch_size,
    p.confidence, p.observation, i.thumbnail
FROM steps p
JOIN trajectories t ON t.id = p.trajectory
JOIN runs r ON r.id = t.run
LEFT JOIN images i ON i.sha256 = p.observation""",
)

VIEWS_7 = (
    """CREATE VIEW v_trajectories AS -- Every answer with its question, the rules' newest verdict and what it took.
SELECT t.id, t.run, r.arm, r.model, t.benchmark, t.sample, t.attempt, t.invocation,
    s.dimension, s.question, s.choices, s.answer AS gold, t.text, g.answer,
    CASE WHEN t.stop_reason IN ('endpoint_error', 'cancelled') THEN 'error' ELSE g.verdict END AS verdict, g.grader,
    t.stop_reason, t.error, t.turns, t.zooms, t.wall_ms, t.model_ms, t.preprocess_ms, t.tool_ms,
    t.prompt_tokens, t.completion_tokens, t.image_tokens, t.pixels_sent, t.cost, t.created, s.image, i.thumbnail
FROM trajectories t
JOIN runs r ON r.id = t.run
JOIN samples s ON s.benchmark = t.benchmark AND s.id = t.sample
JOIN images i ON i.sha256 = s.image
LEFT JOIN grades g ON g.id = (SELECT max(id) FROM grades WHERE trajectory = t.id AND grader NOT LIKE 'judge:%')""",
    """CREATE VIEW v_runs AS -- Every run: accuracy leaves errors out, service_accuracy counts them as wrong.
SELECT r.id, r.benchmark, r.arm, r.model, b.n AS samples, count(t.id) AS attempted,
    count(t.id) FILTER (WHERE t.verdict IN ('correct', 'incorrect')) AS answered,
    count(t.id) FILTER (WHERE t.verdict = 'unparsed') AS unparsed,
    count(t.id) FILTER (WHERE t.verdict = 'error') AS errors,
    count(t.id) FILTER (WHERE t.verdict IS NULL) AS ungraded,
    count(t.id) FILTER (WHERE t.verdict = 'correct') AS correct,
    avg(t.verdict = 'correct') FILTER (WHERE t.verdict <> 'error') AS accuracy,
    avg(t.verdict = 'correct') AS service_accuracy,
    avg(t.turns) AS turns, avg(t.zooms) AS zooms, avg(t.wall_ms) AS wall_ms, avg(t.model_ms) AS model_ms,
    sum(t.prompt_tokens) AS prompt_tokens, sum(t.completion_tokens) AS completion_tokens,
    sum(t.image_tokens) AS image_tokens, sum(t.cost) AS cost, group_concat(DISTINCT t.grader) AS graders, r.created
FROM runs r
JOIN benchmarks b ON b.name = r.benchmark
LEFT JOIN v_trajectories t ON t.run = r.id
GROUP BY r.id""",
    """CREATE VIEW v_grades AS -- Every verdict of every grader with the reply; judges are models, beside the rules.
SELECT g.id, g.trajectory, t.run, r.arm, t.benchmark, t.sample, t.attempt, g.grader, g.verdict, g.rule, g.answer,
    substr(t.text, g.span_start + 1, g.span_end - g.span_start) AS shown, s.answer AS gold, s.question, s.choices,
    t.text, g.created
FROM grades g
JOIN trajectories t ON t.id = g.trajectory
JOIN runs r ON r.id = t.run
JOIN samples s ON s.benchmark = t.benchmark AND s.id = t.sample""",
)

VIEWS_11 = (
    """CREATE VIEW v_steps AS -- Every step with the picture that it brought.
SELECT p.trajectory, p.step, t.run, r.arm, t.sample, t.attempt, coalesce(p.call, 0) AS call, p.text, p.reasoning,
    p.tool_call, p.frame, p.convention, p.box_written, coalesce(p.picture, 0) AS picture, p.box,
    coalesce(p.turn, 0) AS turn, p.label, p.error, p.finish_reason, p.prompt_tokens, p.completion_tokens,
    p.image_tokens, p.model_ms, p.tool_ms, p.batch_size, p.confidence, p.observation, i.thumbnail
FROM steps p
JOIN trajectories t ON t.id = p.trajectory
JOIN runs r ON r.id = t.run
LEFT JOIN images i ON i.sha256 = p.observation""",
)
