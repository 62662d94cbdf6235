"""The tables of HQ's store, on SQLite and PostgreSQL alike (sync.hq.database says how)."""

# Only ever appended to. Times are µs since the Unix epoch, UTC.
MIGRATIONS = (
    """
    -- The keys that sites have signed with. One at most is in force.
    CREATE TABLE keys (
      site TEXT NOT NULL,
      key TEXT NOT NULL,               -- Ed25519 public key, base64
      key_id TEXT NOT NULL,
      enrolled_at INTEGER NOT NULL,
      revoked_at INTEGER,
      PRIMARY KEY (site, key)
    ) STRICT;
    CREATE UNIQUE INDEX key_in_force ON keys (site) WHERE revoked_at IS NULL;

    CREATE TABLE invitations (
      site TEXT NOT NULL,
      secret_sha256 TEXT NOT NULL,
      expires_at INTEGER NOT NULL,
      used_at INTEGER,
      used_by TEXT,                    -- the key
      PRIMARY KEY (site, secret_sha256)
    ) STRICT;

    -- What is known of a site's link, beside its records.
    CREATE TABLE contact (
      site TEXT PRIMARY KEY,
      heard_at INTEGER,                -- the last envelope, birth or pulse
      state TEXT,                      -- up | down
      state_at INTEGER,                -- since when, by HQ's clock
      connection TEXT NOT NULL DEFAULT '',
      introduction TEXT NOT NULL DEFAULT '',
      boot TEXT NOT NULL DEFAULT '',
      mono INTEGER NOT NULL DEFAULT 0, -- of the newest State in that boot
      dead TEXT NOT NULL DEFAULT '[]', -- the newest connections that died
      replica TEXT NOT NULL DEFAULT ''
    ) STRICT;

    -- A lane of an epoch. It lacks top_seq - held numbers below the highest.
    CREATE TABLE lanes (
      site TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      held INTEGER NOT NULL DEFAULT 0, -- how many numbers the table held has
      top_seq INTEGER NOT NULL DEFAULT 0,
      newest_seq INTEGER,              -- as the site last said, and so on
      waiting INTEGER,
      waiting_since INTEGER,           -- by HQ's clock; null also where the site's clock cannot tell
      reported_at INTEGER,
      PRIMARY KEY (site, epoch, lane)
    ) STRICT;

    -- The numbers that HQ holds, as runs that do not touch: a record, or a word on where it went (gone).
    CREATE TABLE held (
      site TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      first_seq INTEGER NOT NULL,
      last_seq INTEGER NOT NULL,
      PRIMARY KEY (site, epoch, lane, first_seq)
    ) STRICT, WITHOUT ROWID;

    -- Numbers whose records nobody has any more, and why: evicted, pruned, quarantined, lost.
    CREATE TABLE gone (
      site TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      first_seq INTEGER NOT NULL,
      last_seq INTEGER NOT NULL,
      reason TEXT NOT NULL,
      kinds JSON NOT NULL,             -- how many of each kind, where that is known
      bytes INTEGER NOT NULL,
      noted_at INTEGER NOT NULL,
      PRIMARY KEY (site, epoch, lane, first_seq)
    ) STRICT, WITHOUT ROWID;

    -- The clock of each boot of a site: happened_at = offset_us + mono (sync.hq.clock).
    CREATE TABLE boots (
      boot_no INTEGER PRIMARY KEY,
      site TEXT NOT NULL,
      boot TEXT NOT NULL,
      bound_us INTEGER NOT NULL,       -- the offset is not more: nothing happened after HQ had it
      heard INTEGER NOT NULL,          -- 1: a State of this boot came
      row_mono INTEGER,                -- of the newest row with a plausible time
      row_offset_us INTEGER,           -- and its at - mono
      first_mono INTEGER,
      newest_mono INTEGER,
      offset_us INTEGER NOT NULL,
      clock TEXT NOT NULL,             -- heard | row | order
      newest_at INTEGER,               -- when its newest record happened
      UNIQUE (site, boot)
    ) STRICT;
    CREATE INDEX boots_by_newest ON boots (newest_at);

    -- Which numbers a boot has in a lane: what tells which boot followed which.
    CREATE TABLE stretches (
      site TEXT NOT NULL,
      boot_no INTEGER NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      first_seq INTEGER NOT NULL,
      PRIMARY KEY (site, boot_no, epoch, lane)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE received (
      site TEXT NOT NULL,
      epoch INTEGER NOT NULL,
      lane TEXT NOT NULL,
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      record JSON NOT NULL,
      at INTEGER NOT NULL,             -- by the site's clock, as it was
      boot_no INTEGER NOT NULL,
      mono INTEGER NOT NULL,
      received_at INTEGER NOT NULL,
      PRIMARY KEY (site, epoch, lane, seq)
    ) STRICT;
    CREATE INDEX received_by_time ON received (boot_no, mono);

    -- What people at HQ ask: every record, and when it happened.
    CREATE VIEW history AS
      SELECT received.site, epoch, lane, seq, kind, id, record, at, boot, mono, received_at,
        offset_us + mono AS happened_at, clock
      FROM received JOIN boots ON boots.boot_no = received.boot_no;

    -- Counted on arrival, because counting received takes longer every day.
    CREATE TABLE tally (
      site TEXT NOT NULL,
      kind TEXT NOT NULL,
      lane TEXT NOT NULL,
      records INTEGER NOT NULL,
      PRIMARY KEY (site, kind, lane)
    ) STRICT;
    CREATE TABLE gone_tally (
      site TEXT NOT NULL,
      reason TEXT NOT NULL,
      numbers INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      PRIMARY KEY (site, reason)
    ) STRICT;

    -- Which play an action is a step of, and what became of it (sync.hq.plays).
    CREATE TABLE play_decisions (
      site TEXT NOT NULL,
      decision_id TEXT NOT NULL,
      play TEXT NOT NULL,
      PRIMARY KEY (site, decision_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE play_actions (
      site TEXT NOT NULL,
      action_id TEXT NOT NULL,
      decision_id TEXT,
      state TEXT,
      state_epoch INTEGER NOT NULL DEFAULT 0,
      state_seq INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (site, action_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX play_actions_by_decision ON play_actions (site, decision_id);
    CREATE TABLE plays (
      site TEXT NOT NULL,
      play TEXT NOT NULL,
      what TEXT NOT NULL,              -- decision, or the state of an action
      number INTEGER NOT NULL,
      PRIMARY KEY (site, play, what)
    ) STRICT;

    CREATE TABLE dictionaries (
      site TEXT NOT NULL,
      id TEXT NOT NULL,
      content BLOB NOT NULL,
      learnt_at INTEGER NOT NULL,
      PRIMARY KEY (site, id)
    ) STRICT;

    CREATE TABLE quarantine (
      n INTEGER NOT NULL,
      site TEXT NOT NULL,              -- by the topic; where cause is refused nothing about it is known to be true
      cause TEXT NOT NULL,             -- refused | conflict | row
      reason TEXT NOT NULL,
      epoch INTEGER,                   -- of a row
      lane TEXT,
      seq INTEGER,
      bytes BLOB NOT NULL,             -- the first of them
      sha256 TEXT NOT NULL,            -- of all of them
      times INTEGER NOT NULL,          -- how often it came
      at INTEGER NOT NULL,             -- when last
      PRIMARY KEY (n)
    ) STRICT;
    CREATE UNIQUE INDEX quarantine_by_content ON quarantine (site, sha256, reason);
    CREATE TABLE quarantine_tally (
      site TEXT NOT NULL,              -- '' for those that were never enrolled
      cause TEXT NOT NULL,
      number INTEGER NOT NULL,
      PRIMARY KEY (site, cause)
    ) STRICT;
    """,
    """
    -- What people at HQ sent to sites (sync.hq.orders). What became of it the sites say, in records of kind order.
    CREATE TABLE orders (
      order_id TEXT PRIMARY KEY,       -- UUIDv7: a later one is newer
      site TEXT NOT NULL,
      kind TEXT NOT NULL,              -- playbook | vocabulary | pack | request
      name TEXT NOT NULL,
      sha256 TEXT NOT NULL,
      size INTEGER NOT NULL,
      sent_at INTEGER NOT NULL,
      activate_at INTEGER,
      wanted INTEGER NOT NULL DEFAULT 0, -- about so many bytes the site has got
      ended INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX orders_of_site ON orders (site, order_id);

    CREATE TABLE order_content (
      sha256 TEXT NOT NULL,            -- of the whole
      part INTEGER NOT NULL,
      content BLOB NOT NULL,
      PRIMARY KEY (sha256, part)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX received_order ON received (site, epoch, seq) WHERE kind = 'order';
    CREATE INDEX received_audio ON received (site, epoch, seq) WHERE kind = 'audio';
    """,
)
