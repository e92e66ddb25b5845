-- The hourly job, told by SQL from its meaning, over the raw bytes of its input. Written without a look at the engine.
-- Run once the table oracle.raw (the input topic) is filled; oracle.dead (the dead letters) is there, and may be filled later.

-- A document, or nothing where the bytes are none.
CREATE FUNCTION oracle.document(bytes bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN convert_from(bytes, 'UTF8')::jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

-- A time in the form of RFC 3339, as UTC without a zone. PostgreSQL itself would read 'yesterday' too.
CREATE FUNCTION oracle.moment(text text) RETURNS timestamp LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF text !~ '^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$' THEN
        RETURN NULL;
    END IF;
    RETURN text::timestamptz AT TIME ZONE 'UTC';
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

CREATE FUNCTION oracle.is_good(d jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        jsonb_typeof(d) = 'object'
        AND jsonb_typeof(d -> 'event_id') = 'string'
        AND jsonb_typeof(d -> 'event_type') = 'string'
        AND jsonb_typeof(d -> 'timestamp') = 'string'
        AND oracle.moment(d ->> 'timestamp') IS NOT NULL
        AND coalesce(jsonb_typeof(d -> 'user_id'), 'null') IN ('string', 'null')
        AND coalesce(jsonb_typeof(d -> 'event_data'), 'null') IN ('object', 'null')
        AND CASE coalesce(jsonb_typeof(d -> 'duration_seconds'), 'null')
                WHEN 'null' THEN true
                WHEN 'number' THEN (d ->> 'duration_seconds')::numeric >= 0
                ELSE false
            END,
        false)
$$;

CREATE TABLE oracle.parsed AS
    SELECT partition, record_offset, timestamp 'epoch' + sent_ms * interval '1 millisecond' AS sent, key, value, d, oracle.is_good(d) AS is_good
    FROM (SELECT *, oracle.document(value) AS d FROM oracle.raw) AS documents;

-- Each event once: the first of its records. Late: its hour ended more than the grace before it was sent. Who sends late
-- sends at least an hour late, so which of two neighbours came first makes no difference.
CREATE TABLE oracle.events AS
    SELECT DISTINCT ON (d ->> 'event_id')
        d ->> 'event_id' AS event_id,
        d ->> 'user_id' AS user_id,
        d ->> 'event_type' AS event_type,
        oracle.moment(d ->> 'timestamp') AS at,
        d -> 'event_data' AS event_data,
        (d ->> 'duration_seconds')::numeric AS duration,
        partition, record_offset, value, sent,
        date_trunc('hour', oracle.moment(d ->> 'timestamp')) + interval '1 hour 10 minutes' <= sent AS is_late
    FROM oracle.parsed
    WHERE is_good
    ORDER BY d ->> 'event_id', partition, record_offset;

CREATE VIEW oracle.hourly AS
    SELECT date_trunc('hour', at) AS aggregation_hour, event_type,
        count(*) AS total_events,
        count(DISTINCT user_id) AS unique_users,
        sum(duration) AS total_duration_seconds,
        round(avg(duration), 2) AS avg_duration_seconds
    FROM oracle.events
    WHERE NOT is_late
    GROUP BY 1, 2;

-- What the job has written, in the same columns.
CREATE VIEW oracle.found_hourly AS
    SELECT aggregation_hour::timestamp, event_type::text, total_events::bigint, unique_users::bigint,
        total_duration_seconds::numeric, avg_duration_seconds::numeric
    FROM hourly_aggregations;

-- What must be a dead letter, and with which kind of reason.
CREATE VIEW oracle.due AS
    SELECT partition, record_offset, 'broken' AS kind, value FROM oracle.parsed WHERE NOT is_good
    UNION ALL
    SELECT partition, record_offset, 'late', value FROM oracle.events WHERE is_late;

CREATE VIEW oracle.found_dead AS
    SELECT partition, record_offset, CASE WHEN reason ~ '^late' THEN 'late' ELSE 'broken' END AS kind, value FROM oracle.dead;
