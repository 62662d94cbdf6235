"""Cards as the terminal holds them."""

from tui.client import Card

NOW_US = 1_773_450_000_000_000


def a_card(card_id: str, due_in_min: float = 30, **changes: object) -> Card:
    """A new card about Red Ridge mine."""
    fields: dict[str, object] = {
        "id": card_id,
        "title": {"en": "Fit the offer to the budget", "zh": "把方案调到预算之内"},
        "what": {"en": "Offer two instalments.", "zh": "提出分两期付款。"},
        "state": "proposed",
        "at": NOW_US,
        "due": NOW_US + round(due_in_min * 60_000_000),
        "role": "rep",
        "subject": "Red Ridge mine",
        "label": "budget_concern",
        "probability": 0.87,
    }
    return Card(**{**fields, **changes})  # type: ignore[arg-type]
