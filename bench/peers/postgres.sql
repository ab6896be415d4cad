-- The table, new and empty, with its index.
DROP TABLE IF EXISTS events;
CREATE TABLE events (
    trackpoint bigint NOT NULL, user_id text NOT NULL, status text NOT NULL, date bigint NOT NULL,
    type text NOT NULL, campaign_id text NOT NULL, campaign_name text NOT NULL,
    node_id text, node_name text, send_date bigint NOT NULL
);
CREATE INDEX events_of_shop ON events (trackpoint, date);
