-- What a sink measured of itself, a row a batch. Times are UTC, without a zone.
CREATE TABLE pipeline_metrics (
    id               BIGSERIAL PRIMARY KEY,
    metric_name      VARCHAR(100) NOT NULL,
    metric_value     NUMERIC(15, 2) NOT NULL,
    metric_timestamp TIMESTAMP NOT NULL DEFAULT timezone('utc', now()),
    labels           JSONB
);
