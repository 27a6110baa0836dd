"""What the service knows about lines, plans and breaches. Pure: no I/O, no clock.

The way of a run through it:

    plan = plan_at(plans, run.started_at)            # plans sorted by `since`
    judgement = judge(run, plan, download_rule)      # outcome, reason, best: when it arrives
    seen = observation(run, judgement, plan, rule)   # once for every rule
    broken(seen, rule)                               # True bad, False good, None says nothing
    episodes(sorted_observations, rule)              # sorted by sort_key: (started_at, run_id)

plans
    `plan_at(plans, moment) -> Plan | None`, `subscribed(plan, metric) -> Mbps | None`.
judgement
    `judge(run, plan, rule) -> Judgement`. `best` is empty unless the outcome is MEASURED. `rule` is
    the download rule: a busy line or a slow local network excuses figures worse than its bound.
    `threshold(rule, plan) -> float | None`, `observation(...)`, `broken(observation, rule)`.
    Without a threshold (no plan) nothing is broken, not even by an outage.
    `LOCAL_TOOLS`: never an observation of the internet line.
streaks
    `episodes(observations, rule) -> list[Episode]`, `streak(...)`, `longest_streak(...)`.
    `window(observations, index, rule) -> range`: what to read again when one run came or changed;
    `ResetScan(rule).take(observation)`: the same, one by one, for a database cursor.
report
    `service_report(probe, since, until, runs, plans, rule) -> ServiceReport`, `Verdict`, `FccBand`.
percentiles, peak
    `percentile(values, share)`, `median(values)`; `local_hour(moment, zone)`, `is_peak(...)`.

On the store, in `services`: `history.history(database, HistoryQuery(...), plans, rules)`,
`report.service_report(database, probe, since, until, plans, rules) -> ServiceReport`, and
`figures.FIGURE_KEYS` and `readings_of(measurements)` between stored names and metrics.
"""
