"""What happened with a customer before a call or note: the steps of their journey, and what the site's machines
reported."""

import apsw

from models.features.time_line import Step

DAYS_BACK = 30
HOURS_BACK = 24  # of machines
NEWEST = 100  # of each kind; who rings more often than that in a month is known well enough
NEWEST_PREDICTIONS = 1_000
DAY_US = 86_400_000_000


def steps_before(connection: apsw.Connection, subject: str, event_id: str, at: int) -> tuple[Step, ...]:
    """The steps of the DAYS_BACK days before `at` (microseconds since the epoch) with a customer, in no order: calls
    and notes, what was said in them, and what became of what was to be done; and of the HOURS_BACK hours before it the
    machines of the site that ran unlike themselves. Nothing of the event itself counts."""
    since = at - DAYS_BACK * DAY_US
    rows = connection.execute(
        """
        SELECT * FROM (
          SELECT CASE kind WHEN 'call' THEN 'called' ELSE kind END, at FROM events
            WHERE subject = :subject AND at BETWEEN :since AND :at AND kind IN ('call', 'note') AND id <> :event
            ORDER BY at DESC LIMIT :newest)
        UNION ALL SELECT * FROM (
          SELECT p.label, p.at FROM predictions p JOIN signals s ON s.id = p.signal_id
            WHERE p.subject = :subject AND p.at BETWEEN :since AND :at AND s.event_id <> :event
            ORDER BY p.at DESC LIMIT :newest)
        UNION ALL SELECT * FROM (
          SELECT t.state, t.at FROM decisions d
            JOIN actions a ON a.decision_id = d.id JOIN transitions t ON t.action_id = a.id
            WHERE d.subject = :subject AND d.event_id <> :event AND t.at BETWEEN :since AND :at
              AND t.state IN ('done', 'expired', 'declined')
            ORDER BY t.at DESC LIMIT :newest)
        UNION ALL SELECT * FROM (
          SELECT label, at FROM predictions
            WHERE seq > (SELECT max(seq) FROM predictions) - :predictions
              AND label = 'device_anomaly' AND subject <> :subject AND at BETWEEN :hours AND :at
            ORDER BY at DESC LIMIT :newest)
        """,
        {
            "subject": subject,
            "event": event_id,
            "at": at,
            "since": since,
            "hours": at - HOURS_BACK * DAY_US // 24,
            "newest": NEWEST,
            "predictions": NEWEST_PREDICTIONS,
        },
    )
    return tuple(Step(what, (at - then) / 1e6) for what, then in rows)
