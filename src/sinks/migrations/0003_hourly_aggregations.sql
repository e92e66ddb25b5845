-- One row an hour and event type. Times are UTC, without a zone.
CREATE TABLE hourly_aggregations (
    id                     BIGSERIAL PRIMARY KEY,
    aggregation_hour       TIMESTAMP NOT NULL,
    event_type             VARCHAR(50) NOT NULL,
    total_events           BIGINT NOT NULL DEFAULT 0,
    unique_users           BIGINT NOT NULL DEFAULT 0,
    total_duration_seconds NUMERIC(10, 2),
    avg_duration_seconds   NUMERIC(10, 2),
    created_at             TIMESTAMP NOT NULL DEFAULT timezone('utc', now()),
    updated_at             TIMESTAMP NOT NULL DEFAULT timezone('utc', now()),
    UNIQUE (aggregation_hour, event_type)
);
