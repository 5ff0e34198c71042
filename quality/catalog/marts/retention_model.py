"""What the retention models say of each account's people, and whether they would have been right."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import DAY
from quality.catalog.model import Rule, Table

MODELS = ("bgbb", "bgnbd", "mbgnbd")
_parameters = tuple(
    c.real(name, f"{doc}.", low=0)
    for name, doc in (
        ("alpha", "bgbb: first parameter of the Beta of coming; bgnbd, mbgnbd: rate of the Gamma of coming (weeks)"),
        ("beta", "bgbb: second parameter of the Beta of coming"),
        ("gamma", "bgbb: first parameter of the Beta of leaving"),
        ("delta", "bgbb: second parameter of the Beta of leaving"),
        ("r", "bgnbd, mbgnbd: shape of the Gamma of coming"),
        ("a", "bgnbd, mbgnbd: first parameter of the Beta of leaving"),
        ("b", "bgnbd, mbgnbd: second parameter of the Beta of leaving"),
    )
)
_difference = c.real("brier_difference", "brier - brier_heuristic: below 0 the model forecasts better.", low=-1, high=1)

mart_retention_model = Table(
    name="mart_retention_model",
    doc="What do the retention models say, and are they calibrated? Histories in opportunity weeks; people of unknown start are out.",
    grain="One model of an account whose inbound was collected, at one as_of.",
    key=("as_of", "account_id", "model"),
    by_account=True,
    columns=(
        c.as_of, c.account_id,
        c.text("model", "bgbb (published), bgnbd and mbgnbd (beside it as a check).", allowed=MODELS).derived(DAY),
        c.flag("is_pooled", "Fitted to all accounts together: the account alone has too few people.").derived(DAY),
        *(
            x.derived(DAY)
            for x in (
                c.count("people", "People that the fit rests on (pooled: of all accounts).", unit="people"),
                c.count("repeat_people", "Those of them who came in a second week.", unit="people"),
                c.real("log_likelihood", "Logarithm of the likelihood at its maximum.", high=0),
                *(x for parameter in _parameters for x in (parameter, *c.interval(parameter))),
                c.text("log_covariance", "Covariance of the logarithms of the parameters (in the order of this table), row by row.", nullable=True),
                c.text("at_bound", "Parameters at a bound of the search: the data want no variation, or only extremes.", nullable=True),
                c.count("brier_n", "People known before the last 4 opportunity weeks, on whom the forecast was judged.", unit="people", nullable=True),
                c.share("brier", "Brier score of forecasting who comes within the last 4 opportunity weeks, hidden from the fit."),
                c.share("brier_base", "The same of the share who came, said of everybody."),
                c.share("brier_heuristic", "The same of the hiatus heuristic: the earlier share with such a silence."),
                _difference, *c.interval(_difference),
                c.share("calibration_error", "Mean distance of forecast and share who came, over deciles of the forecast."),
                c.flag("is_withdrawn", "The heuristic is better, with the whole interval: nothing is published of the model."),
                c.text("note", "Why there is no model, or what to keep in mind.", nullable=True),
            )
        ),
    ),
    rules=(
        Rule(
            name="withdrawn_or_told",
            doc="A withdrawn model has no parameters; one without parameters says why.",
            violations="select * from {table} where (is_withdrawn and log_likelihood is not null) or (log_likelihood is null and note is null)",
        ),
    ),
)  # fmt: skip
