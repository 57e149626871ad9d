-- How far the jobs of all replicas are. `seen_at`: when the replica said so, in seconds of the epoch.
CREATE TABLE jobs (
    job text PRIMARY KEY, progress text NOT NULL, seen_at double precision NOT NULL, cancelled boolean NOT NULL
);
