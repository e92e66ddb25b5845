-- Each good event once. Times are UTC, without a zone.
CREATE TABLE raw_events (
    id               BIGSERIAL PRIMARY KEY,
    event_id         VARCHAR(100) NOT NULL UNIQUE,
    user_id          VARCHAR(100),
    event_type       VARCHAR(50) NOT NULL,
    event_data       JSONB,
    duration_seconds NUMERIC(10, 2),
    timestamp        TIMESTAMP NOT NULL,
    processed_at     TIMESTAMP NOT NULL DEFAULT timezone('utc', now())
);
CREATE INDEX idx_raw_events_timestamp ON raw_events (timestamp);
CREATE INDEX idx_raw_events_user_id ON raw_events (user_id);
CREATE INDEX idx_raw_events_event_type ON raw_events (event_type);
