"""What a hostile probe, server or provider calls itself, in every field that takes text."""

from speedtrap_bots.model import Breach, Conditions, Plan, Server

from tests.bots.builders import a_breach, a_failed, a_measurement, a_run

STRINGS = {
    "encoded header": "=?utf-8?q?a=0D=0ABcc:_e@e.example?=",
    "line break": "one\r\nBcc: two@e.example\r\n\r\nbody",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069",
    "zero width": "zero\u200bwidth\ufeff\U000e0041",
    "mention": "@everyone @here #fail $TSLA \uff20all \uff03all",
    "template": "{{7*7}}{% for x in y %}{{ ''.__class__ }}",
    "typst": '#eval("7*7") #read("/etc/passwd") $7 times 7$ \\ <a> @b',
    "html": "\"'><script>alert(1)</script><img src=x onerror=alert(1)>",
    "link": "https://evil.example/x javascript:alert(1) evil.com",
    "equals": "=cmd|'/C calc'!A0",
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(1+1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "quote": '","=1+1\n=2+2',
    "controls": "\x00\x07\x1b[31mred\x9b\x85\u2028\u2029",
    "surrogate": "lone \ud83d half",
    "family": "👩‍👩‍👧‍👦" * 50,
    "combining": "Z\u0351\u036b\u0343" * 500,
    "megabyte": "a" * 1_000_000,
    "right to left": "\u0634\u0631\u0643\u0629 \u05d7\u05d1\u05e8\u05d4",
    "chinese": "\u7db2\u8def" * 40,
    "empty": "",
    "blank": " \t\u3164",
}


def a_hostile_breach(text: str) -> Breach:
    """*text* wherever the text of somebody else can stand."""
    measurement = a_measurement(
        tool=text, tool_version=text, server=Server(name=text, location=text)
    )
    conditions = Conditions(medium="WIRED", platform=text, probe_version=text)
    run = a_run(5, 120, measurements=[measurement, a_failed(text, kind=text, message=text)])
    run = run.model_copy(update={"outcome_reason": text, "conditions": conditions})
    breach = a_breach()
    return a_breach(
        probe=text,
        plan=Plan(provider=text, download_mbps=940, time_zone="America/Denver"),
        runs=(*breach.runs[:-1], run),
        window=(*breach.window[:-1], run),
    )
